"""Fingerprints of data: short texts that change when the data change."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence

import numpy as np

BITS = 128


def of_arrays(arrays: Iterable[np.ndarray]) -> str:
    """Returns a hash of shapes, dtypes and contents.

    >>> import numpy as np
    >>> of_arrays([np.arange(4)]) == of_arrays([np.arange(4)]) != of_arrays([np.arange(5)])
    True
    """
    found = hashlib.blake2b(digest_size=BITS // 8)
    for array in arrays:
        found.update(f"{array.dtype.str}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    return found.hexdigest()


def of_files(paths: Sequence[str], counts: Sequence[int]) -> str:
    """Returns a hash of the names and sizes of files, and of a number for each file.

    The contents are not included, since reading them takes too long. Neither is the folder of the
    files, so it can be moved.
    """
    found = hashlib.blake2b(digest_size=BITS // 8)
    root = os.path.commonpath(paths) if len(paths) > 1 else os.path.dirname(paths[0])
    for path, count in zip(paths, counts):
        name = os.path.relpath(path, root)
        found.update(f"{name} {os.path.getsize(path)} {count}\n".encode())
    return found.hexdigest()
