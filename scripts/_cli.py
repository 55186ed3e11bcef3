"""The flags that the training scripts share, and errors as one line instead of a traceback."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

BACKENDS = ("tensorflow", "jax", "torch")
STRATEGIES = ("one_device", "mirrored", "multi_worker", "tpu", "data_parallel")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16", "bfloat16")
# Exit codes: 2 for wrong input, 3 for NaN or infinity, 128 + the signal's number for a run that was
# asked to stop (143 by SIGTERM, 130 by Ctrl-C).
NOT_FINITE = 3
# What a wrong command, recipe, data set or file raises; anything else is a bug and keeps its trace.
USER_ERRORS = (ValueError, TypeError, AttributeError, KeyError, OSError, flags.Error)


def define_backend() -> None:
    flags.DEFINE_enum("backend", "tensorflow", BACKENDS, "What Keras computes with.")


def define_run_flags() -> None:
    """The flags of scripts that make a run."""
    define_backend()
    config_flags.DEFINE_config_file(
        "config",
        None,
        "The recipe, a file of configs/. Fields are changed by --config.FIELD=VALUE, such as "
        "--config.prune.momentum=0; tfshed/experiments/recipe.py lists them.",
    )
    flags.DEFINE_string("workdir", None, "The run's folder. The same command goes on with it.")
    flags.DEFINE_string("data_dir", None, "Folder of the data sets (of tensorflow-datasets).")
    flags.DEFINE_integer("seed", 0, "Of weights, order of data, augmentation.", lower_bound=0)
    flags.DEFINE_enum("strategy", "one_device", STRATEGIES, "How the run uses several devices.")
    flags.DEFINE_integer("devices", None, "Use so many devices; default all.", lower_bound=1)
    flags.DEFINE_integer(
        "virtual_devices",
        None,
        "Split the CPU into so many devices, to try a strategy on a laptop.",
        lower_bound=1,
    )
    flags.DEFINE_enum("precision", "float32", PRECISIONS, "Keras' dtype policy.")
    flags.DEFINE_bool("deterministic", False, "Results that repeat to the bit; slower.")
    flags.DEFINE_bool("resume", True, "Go on with a run that is there; else that is an error.")
    flags.DEFINE_bool(
        "accept_missing_rows", False, "Go on with a run whose keep_ratio.csv has lost rows."
    )
    flags.DEFINE_bool("dry_run", False, "Build all, run two steps, print the plan; write nothing.")
    flags.mark_flags_as_required(["config", "workdir"])


def main(run: Callable[[], int | None], define: Callable[[], None] | None = None) -> None:
    """Parses the flags, makes the environment ready and runs; wrong input exits with 2.

    `define` defines flags whose help needs tfshed, which may be imported with the backend only.
    """
    _prepare(sys.argv[1:])
    if define is not None:
        define()
    _without_places_in_code()

    def guarded(argv: Sequence[str]) -> int | None:
        absl_logging.set_verbosity(absl_logging.WARNING)
        if len(argv) > 1:
            raise app.UsageError(f"expected flags alone, received {argv[1:]}")
        try:
            return run()
        except USER_ERRORS as error:
            return _failed(error)
        except KeyboardInterrupt:
            print("\nStopped. The same command goes on from the last checkpoint.", flush=True)
            return 130

    def parse(argv: Sequence[str]) -> list[str]:
        try:
            return list(app.parse_flags_with_usage(list(argv)))
        except USER_ERRORS as error:
            sys.exit(_failed(error))

    app.run(guarded, flags_parser=parse)


def _failed(error: BaseException) -> int:
    inner = error
    while inner.args and isinstance(inner.args[0], BaseException):
        inner = inner.args[0]
    # A KeyError's text is the representation of its argument; ml_collections' have two lines.
    text = str(inner.args[0] if isinstance(inner, KeyError) and inner.args else inner)
    if isinstance(inner, KeyError):
        text = f"there is no field {text}"
    text = text.replace("\n", " ").strip()
    print(f"{os.path.basename(sys.argv[0])}: {text}", file=sys.stderr, flush=True)
    if os.environ.get("TFSHED_TRACEBACK"):
        raise error
    return 2


def _prepare(argv: Sequence[str]) -> None:
    """Does what has to be done before Keras is imported, which a recipe's first line does."""
    os.environ["KERAS_BACKEND"] = _given(argv, "backend") or "tensorflow"
    split = _given(argv, "virtual_devices")
    if split and os.environ["KERAS_BACKEND"] == "jax":
        known = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{known} --xla_force_host_platform_device_count={split}".strip()
    import _quiet

    _quiet.import_tensorflow()
    # How gradients are exchanged, and which accelerators are not there, once for each step traced.
    for name in ("tensorflow", "jax"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _given(argv: Sequence[str], name: str) -> str | None:
    """The value of a flag that has not been parsed yet.

    >>> _given(["--seed=1", "--backend", "jax"], "backend"), _given(["-backend=jax"], "backend")
    ('jax', 'jax')
    """
    for i, word in enumerate(argv):
        key, _, value = word.lstrip("-").partition("=")
        if word.startswith("-") and key == name:
            return value or (argv[i + 1] if i + 1 < len(argv) else None)
    return None


def _without_places_in_code() -> None:
    """Warnings as one line among the others."""

    def show(message: Any, *rest: Any, **more: Any) -> None:
        print(f"note: {message}", file=sys.stderr, flush=True)

    warnings.showwarning = show


def settings(phase: str) -> Any:
    """The `tfshed.experiments.Settings` that the flags say."""
    from tfshed.experiments import Settings

    given = flags.FLAGS
    # A file that could not be loaded is an error only when it is looked at.
    given.config.scale  # noqa: B018
    return Settings(
        phase,
        given.config,
        workdir=given.workdir,
        seed=given.seed,
        precision=given.precision,
        data_dir=given.data_dir,
        deterministic=given.deterministic,
        resume=given.resume,
        accept_missing_rows=given.accept_missing_rows,
    )


def make_run(phase: str) -> int:
    """What train.py and prune.py do."""
    from tfshed.distribution import WorkerLostError, setup
    from tfshed.experiments import Run
    from tfshed.experiments.dry_run import plan
    from tfshed.experiments.interruption import InterruptedRunError
    from tfshed.experiments.non_finite import NonFiniteError

    chosen, given = settings(phase), flags.FLAGS
    distribution = setup(
        given.strategy, devices=given.devices, virtual_devices=given.virtual_devices
    )
    run = Run(chosen, distribution)
    if given.dry_run:
        print(plan(run))
        return 0
    try:
        run.run(print_fn=print if distribution.is_chief else lambda text: None)
    except WorkerLostError as error:
        return _failed(error)
    except NonFiniteError as error:
        _failed(error)
        return NOT_FINITE
    except InterruptedRunError as error:
        print(f"\n{error}", flush=True)
        return 128 + error.signal
    return 0
