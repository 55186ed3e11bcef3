"""Errors of users, printed as one line instead of a traceback."""

from __future__ import annotations

import os
import sys

from absl import flags

# 2 for wrong input, 3 for a loss that is NaN or infinite, and 128 + the number of the signal for a
# run that was asked to stop (143 by SIGTERM, 130 by Ctrl-C).
WRONG_INPUT, NOT_FINITE, CTRL_C, BROKEN_PIPE = 2, 3, 130, 141
# A wrong command, recipe, data set or file raises one of these, and a package that is not installed
# an ImportError. Any other error is a bug, and is shown with its traceback.
USER_ERRORS = (ValueError, TypeError, AttributeError, KeyError, OSError, ImportError, flags.Error)


def tell(command: str, error: BaseException) -> int:
    """Prints an error as one line and returns the exit code 2.

    With the environment variable TFSHED_TRACEBACK set, the error is raised again instead.

    Args:
        command: The name of the command, such as "train".
        error: What was raised.
    """
    inner = error
    while inner.args and isinstance(inner.args[0], BaseException):
        inner = inner.args[0]
    # str() of a KeyError would put its text in quotes. Those of ml_collections have two lines.
    text = str(inner.args[0] if isinstance(inner, KeyError) and inner.args else inner)
    if isinstance(inner, KeyError):
        text = f"there is no field {text}"
    text = text.replace("\n", " ").strip()
    print(f"tfshed {command}: {text}", file=sys.stderr, flush=True)
    if os.environ.get("TFSHED_TRACEBACK"):
        raise error
    return WRONG_INPUT
