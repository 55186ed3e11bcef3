"""Runs a command from its name and its words."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from absl import flags
from absl import logging as absl_logging

from tfshed.commands.command import Command
from tfshed.commands.failures import BROKEN_PIPE, CTRL_C, USER_ERRORS, tell
from tfshed.commands.flag_words import help_text, parse


def run_command(name: str, words: Sequence[str]) -> int:
    """Parses the flags of a command and runs it.

    Args:
        name: The name of a module of tfshed/commands that has a `COMMAND`, such as "train".
        words: The words after the name.

    Returns:
        The exit code.
    """
    command: Command = importlib.import_module(f"tfshed.commands.{name}").COMMAND
    if any(word in ("--help", "-help", "-h", "--helpfull") for word in words):
        print(help_text(command))
        return 0
    # Libraries that look at absl's own flags find them at their defaults.
    flags.FLAGS(["tfshed"], known_only=True)
    absl_logging.set_verbosity(absl_logging.WARNING)
    with warnings.catch_warnings():
        warnings.showwarning = show_warning
        try:
            return command.run(parse(command, words))
        except BrokenPipeError:
            # The reader of the output, such as `head`, has seen enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return BROKEN_PIPE
        except USER_ERRORS as error:
            return tell(name, error)
        except KeyboardInterrupt:
            print("\nStopped. The same command resumes from the last checkpoint.", flush=True)
            return CTRL_C


def show_warning(message: Any, *rest: Any, **more: Any) -> None:
    """Shows a warning as one line, without the file and the line of code."""
    print(f"note: {message}", file=sys.stderr, flush=True)
