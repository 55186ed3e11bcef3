"""The command `tfshed`: `tfshed train`, `tfshed prune`, `tfshed report` and so on.

This module stands beside the package and not in it. Importing anything of tfshed imports Keras, and
Keras reads its backend from the environment once, when it is imported. So the flag `--backend` has
to be read, and TensorFlow has to be imported quietly, before the package is.
"""

from __future__ import annotations

import difflib
import importlib.util
import logging
import os
import re
import sys
import tempfile
from collections.abc import Sequence

# Each command is the module of this name in tfshed/commands/. The texts stand here, so that
# `tfshed --help` answers without importing TensorFlow.
COMMANDS = {
    "recipes": "Lists the recipes: what each shows, what it costs, and its fields.",
    "train": "Trains the network of a recipe.",
    "prune": "Prunes a trained network while training goes on.",
    "retrain": "Prunes a trained network once and retrains it with fixed masks.",
    "compare": "Runs a grid of retraining strategies, prunings and seeds, and makes a table of it.",
    "reproduce": "Reproduces the figures and claims of the cascade paper at a scale that fits the "
    "machine.",
    "evaluate": "Evaluates a trained or pruned network.",
    "report": "Tells whether a model is sparse, smaller and faster.",
    "export": "Writes a trained or pruned network in another format, and checks the file.",
}

# Messages on CPU instructions and missing drivers, which are hidden. All others are printed.
NOTE = re.compile(
    rb"^(WARNING: All log messages before absl::InitializeLog\(\)"
    rb"|I\d{4} \S+ +\d+ (port|cudart_stub|cpu_feature_guard)\.cc:"
    rb"|To enable the following instructions:)"
)


def main(words: Sequence[str] | None = None) -> None:
    """Runs a command and exits with its code.

    Args:
        words: The words after `tfshed`, such as ["report", "model.keras"]. Default None: those of
            the command line.
    """
    given = list(sys.argv[1:] if words is None else words)
    name = given[0] if given else "--help"
    if name in ("--help", "-h", "help"):
        print(usage())
        sys.exit(0)
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        print(
            f"tfshed: expected a command ({', '.join(COMMANDS)}), received {name!r}.{hint}",
            file=sys.stderr,
        )
        sys.exit(2)
    prepare(given[1:])
    from tfshed.commands.run_command import run_command

    sys.exit(run_command(name, given[1:]))


def usage() -> str:
    """The text of `tfshed --help`."""
    lines = [f"  tfshed {name:10s} {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "tfshed prunes Keras models.",
            "",
            *lines,
            "",
            "`tfshed COMMAND --help` lists the flags of a command.",
        ]
    )


def prepare(words: Sequence[str]) -> None:
    """Sets what must be set before Keras is imported.

    Args:
        words: The flags of a command. `--backend` and `--virtual_devices` are read here.
    """
    backend = given_flag(words, "backend") or os.environ.get("KERAS_BACKEND") or "tensorflow"
    os.environ["KERAS_BACKEND"] = backend
    split = given_flag(words, "virtual_devices")
    if split and backend == "jax":
        known = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{known} --xla_force_host_platform_device_count={split}".strip()
    # With JAX and PyTorch some layers of Keras look into TensorFlow where it is installed.
    if importlib.util.find_spec("tensorflow") is not None:
        import_tensorflow()
    # They would report, for each step that is traced, how gradients are exchanged and which
    # accelerators are missing.
    for name in ("tensorflow", "jax"):
        logging.getLogger(name).setLevel(logging.WARNING)


def given_flag(words: Sequence[str], name: str) -> str | None:
    """Returns the value of a flag before flags are parsed; None if it is not given.

    >>> given_flag(["--seed=1", "--backend", "jax"], "backend")
    'jax'
    >>> given_flag(["-backend=torch"], "backend")
    'torch'
    """
    for i, word in enumerate(words):
        key, _, value = word.lstrip("-").partition("=")
        if word.startswith("-") and key == name:
            return value or (words[i + 1] if i + 1 < len(words) else None)
    return None


def import_tensorflow() -> None:
    """Imports TensorFlow without the messages that its libraries print while they are loaded.

    TensorFlow reads `TF_CPP_MIN_LOG_LEVEL` only after these lines are printed. Other variables that
    would hide them change what TensorFlow computes (`TF_ENABLE_ONEDNN_OPTS=0` does). A program must
    call this before anything that imports Keras or tfshed. All other messages are printed.

    Example:
        >>> import tfshed_command
        >>> tfshed_command.import_tensorflow()
    """
    # This hides later messages, such as those on a missing driver at the first operation.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    # The messages come from C++, so the file descriptor must be redirected, not sys.stderr.
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            held.seek(0)
            for line in held:
                if not NOTE.match(line):
                    os.write(terminal, line)
            os.close(terminal)


if __name__ == "__main__":
    main()
