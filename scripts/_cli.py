"""The flags that the scripts share, and errors printed as one line instead of a traceback."""

from __future__ import annotations

import importlib.util
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
# Exit codes: 2 for wrong input, 3 for a loss that is NaN or infinite, and 128 + the number of the
# signal for a run that was asked to stop (143 by SIGTERM, 130 by Ctrl-C).
NOT_FINITE = 3
# A wrong command, recipe, data set or file raises one of these. Any other error is a bug, and is
# shown with its traceback.
USER_ERRORS = (ValueError, TypeError, AttributeError, KeyError, OSError, flags.Error)


def define_backend() -> None:
    """Defines the flag --backend."""
    flags.DEFINE_enum("backend", "tensorflow", BACKENDS, "The backend of Keras.")


def define_run_flags() -> None:
    """Defines the flags of the scripts that train or prune."""
    define_backend()
    config_flags.DEFINE_config_file(
        "config",
        None,
        "The recipe, a file of configs/. Change its fields with --config.FIELD=VALUE, such as "
        "--config.prune.momentum=0. All fields are listed in tfshed/experiments/recipe.py.",
    )
    flags.DEFINE_string(
        "workdir", None, "The folder of the run. The same command resumes a run that was stopped."
    )
    flags.DEFINE_string("data_dir", None, "The folder in which tensorflow-datasets keeps its data.")
    flags.DEFINE_integer(
        "seed", 0, "The seed of initial weights, data order and augmentation.", lower_bound=0
    )
    flags.DEFINE_enum("strategy", "one_device", STRATEGIES, "How several devices are used.")
    flags.DEFINE_integer(
        "devices", None, "The number of devices to use; default all.", lower_bound=1
    )
    flags.DEFINE_integer(
        "virtual_devices",
        None,
        "Split the CPU into this number of devices, to try a strategy on a laptop.",
        lower_bound=1,
    )
    flags.DEFINE_enum("precision", "float32", PRECISIONS, "The dtype policy of Keras.")
    flags.DEFINE_bool(
        "deterministic", False, "Make repeated runs bit-identical. This makes steps slower."
    )
    flags.DEFINE_bool(
        "resume", True, "Resume a run that exists in --workdir. With --noresume that is an error."
    )
    flags.DEFINE_bool(
        "accept_missing_rows", False, "Resume a run even if rows of its keep_ratio.csv were lost."
    )
    flags.DEFINE_bool(
        "dry_run", False, "Build everything, run two steps and print the plan; write no files."
    )
    flags.mark_flags_as_required(["config", "workdir"])


def main(run: Callable[[], int | None], define: Callable[[], None] | None = None) -> None:
    """Prepares the environment, parses the flags and runs the script.

    Args:
        run: The script. It returns an exit code or None.
        define: Defines flags whose help text needs tfshed. It is called after the backend was
            chosen, since importing tfshed imports Keras.
    """
    _prepare(sys.argv[1:])
    if define is not None:
        define()
    _without_places_in_code()

    def guarded(argv: Sequence[str]) -> int | None:
        absl_logging.set_verbosity(absl_logging.WARNING)
        if len(argv) > 1:
            raise app.UsageError(f"expected flags only, received {argv[1:]}")
        try:
            return run()
        except USER_ERRORS as error:
            return _failed(error)
        except KeyboardInterrupt:
            print("\nStopped. The same command resumes from the last checkpoint.", flush=True)
            return 130

    def parse(argv: Sequence[str]) -> list[str]:
        try:
            return list(app.parse_flags_with_usage(list(argv)))
        except USER_ERRORS as error:
            sys.exit(_failed(error))

    app.run(guarded, flags_parser=parse)


def _failed(error: BaseException) -> int:
    """Prints an error as one line and returns the exit code 2."""
    inner = error
    while inner.args and isinstance(inner.args[0], BaseException):
        inner = inner.args[0]
    # str() of a KeyError would put its text in quotes. Those of ml_collections have two lines.
    text = str(inner.args[0] if isinstance(inner, KeyError) and inner.args else inner)
    if isinstance(inner, KeyError):
        text = f"there is no field {text}"
    text = text.replace("\n", " ").strip()
    print(f"{os.path.basename(sys.argv[0])}: {text}", file=sys.stderr, flush=True)
    if os.environ.get("TFSHED_TRACEBACK"):
        raise error
    return 2


def _prepare(argv: Sequence[str]) -> None:
    """Sets what must be set before Keras is imported, which loading a recipe does."""
    os.environ["KERAS_BACKEND"] = _given(argv, "backend") or "tensorflow"
    split = _given(argv, "virtual_devices")
    if split and os.environ["KERAS_BACKEND"] == "jax":
        known = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{known} --xla_force_host_platform_device_count={split}".strip()
    # With JAX and PyTorch some layers of Keras look into TensorFlow where it is installed.
    if importlib.util.find_spec("tensorflow") is not None:
        import _quiet

        _quiet.import_tensorflow()
    # They would report, for each step that is traced, how gradients are exchanged and which
    # accelerators are missing.
    for name in ("tensorflow", "jax"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _given(argv: Sequence[str], name: str) -> str | None:
    """Returns the value of a flag before flags are parsed; None if it is not given.

    >>> _given(["--seed=1", "--backend", "jax"], "backend"), _given(["-backend=jax"], "backend")
    ('jax', 'jax')
    """
    for i, word in enumerate(argv):
        key, _, value = word.lstrip("-").partition("=")
        if word.startswith("-") and key == name:
            return value or (argv[i + 1] if i + 1 < len(argv) else None)
    return None


def _without_places_in_code() -> None:
    """Shows warnings as one line, without the file and the line of code."""

    def show(message: Any, *rest: Any, **more: Any) -> None:
        print(f"note: {message}", file=sys.stderr, flush=True)

    warnings.showwarning = show


def settings(phase: str) -> Any:
    """Returns the `tfshed.experiments.Settings` for these flags."""
    from tfshed.experiments import Settings

    given = flags.FLAGS
    # If the recipe could not be loaded, this access raises the error.
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
    """What train.py, prune.py and retrain.py do."""
    from tfshed.distribution import WorkerLostError, setup
    from tfshed.experiments import Run
    from tfshed.experiments.dry_run import plan
    from tfshed.experiments.interruption import InterruptedRunError
    from tfshed.experiments.non_finite import NonFiniteError
    from tfshed.experiments.retraining.rounds import rounds_of

    chosen, given = settings(phase), flags.FLAGS
    distribution = setup(
        given.strategy, devices=given.devices, virtual_devices=given.virtual_devices
    )
    rounds = rounds_of(chosen)
    if given.dry_run:
        print(plan(Run(rounds[0], distribution)))
        return 0
    try:
        for each in rounds:
            run = Run(each, distribution)
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
