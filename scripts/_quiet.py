"""Imports TensorFlow without the messages that its libraries print while they are loaded.

TensorFlow reads `TF_CPP_MIN_LOG_LEVEL` only after these lines are printed. Other variables that
would hide them change what TensorFlow computes (`TF_ENABLE_ONEDNN_OPTS=0` does). A script must call
`import_tensorflow()` before anything that imports Keras or tfshed.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile

# Messages on CPU instructions and missing drivers, which are hidden. All others are printed.
NOTE = re.compile(
    rb"^(WARNING: All log messages before absl::InitializeLog\(\)"
    rb"|I\d{4} \S+ +\d+ (port|cudart_stub|cpu_feature_guard)\.cc:"
    rb"|To enable the following instructions:)"
)


def import_tensorflow() -> None:
    """Imports TensorFlow, and prints what it writes to stderr except for the known messages.

    Example:
        >>> import _quiet  # doctest: +SKIP
        >>> _quiet.import_tensorflow()  # doctest: +SKIP
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
