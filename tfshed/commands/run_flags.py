"""The flags that several commands share."""

from __future__ import annotations

import os

from absl import flags

BACKENDS = ("tensorflow", "jax", "torch")
STRATEGIES = ("one_device", "mirrored", "multi_worker", "tpu", "data_parallel")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16", "bfloat16")


def define_backend(values: flags.FlagValues) -> None:
    """Defines the flag --backend, which `tfshed_command` reads before Keras is imported."""
    default = os.environ.get("KERAS_BACKEND")
    flags.DEFINE_enum(
        "backend",
        default if default in BACKENDS else "tensorflow",
        BACKENDS,
        "The backend of Keras; by default that of the environment variable KERAS_BACKEND.",
        flag_values=values,
    )


def define_data_dir(values: flags.FlagValues) -> None:
    """Defines the flag --data_dir."""
    flags.DEFINE_string(
        "data_dir",
        None,
        "The folder in which tensorflow-datasets keeps its data.",
        flag_values=values,
    )


def define_precision(values: flags.FlagValues) -> None:
    """Defines the flag --precision."""
    flags.DEFINE_enum(
        "precision", "float32", PRECISIONS, "The dtype policy of Keras.", flag_values=values
    )


def define_deterministic(values: flags.FlagValues) -> None:
    """Defines the flag --deterministic."""
    flags.DEFINE_bool(
        "deterministic",
        False,
        "Make repeated runs bit-identical. This makes steps slower.",
        flag_values=values,
    )


def define_run_flags(values: flags.FlagValues) -> None:
    """Defines the flags of the commands that train, prune or retrain."""
    define_backend(values)
    flags.DEFINE_string(
        "workdir",
        None,
        "The folder of the run. The same command resumes a run that was stopped.",
        required=True,
        flag_values=values,
    )
    define_data_dir(values)
    flags.DEFINE_integer(
        "seed",
        0,
        "The seed of initial weights, data order and augmentation.",
        lower_bound=0,
        flag_values=values,
    )
    flags.DEFINE_enum(
        "strategy",
        "one_device",
        STRATEGIES,
        "How several devices are used.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "devices",
        None,
        "The number of devices to use; default all.",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "virtual_devices",
        None,
        "Split the CPU into this number of devices, to try a strategy on a laptop.",
        lower_bound=1,
        flag_values=values,
    )
    define_precision(values)
    define_deterministic(values)
    flags.DEFINE_bool(
        "resume",
        True,
        "Resume a run that exists in --workdir. With --noresume that is an error.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "accept_missing_rows",
        False,
        "Resume a run even if rows of its keep_ratio.csv were lost.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "dry_run",
        False,
        "Build everything, run two steps and print the plan; write no files.",
        flag_values=values,
    )
