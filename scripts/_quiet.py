"""Imports TensorFlow without the notes that its libraries print while they are loaded.

`TF_CPP_MIN_LOG_LEVEL` is read only after these lines are out, and no other variable silences
them without changing what TensorFlow computes (`TF_ENABLE_ONEDNN_OPTS=0` would). A script calls
`import_tensorflow()` before anything that imports Keras or tfshed.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile

# Notes on CPU instructions and on drivers that are not there; anything else is passed on.
NOTE = re.compile(
    rb"^(WARNING: All log messages before absl::InitializeLog\(\)"
    rb"|I\d{4} \S+ +\d+ (port|cudart_stub|cpu_feature_guard)\.cc:"
    rb"|To enable the following instructions:)"
)


def import_tensorflow() -> None:
    """Imports TensorFlow; what it prints to stderr meanwhile is passed on, known notes aside.

    Example:
        >>> import _quiet  # doctest: +SKIP
        >>> _quiet.import_tensorflow()  # doctest: +SKIP
    """
    # For what comes after the import: errors of a missing driver at the first operation.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    # The notes come from C++, so the file descriptor is turned aside, not sys.stderr.
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
