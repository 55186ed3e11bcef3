"""Whether data are those that they were: a short text that changes with them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence

import numpy as np

BITS = 128


def of_arrays(arrays: Iterable[np.ndarray]) -> str:
    """A hash of shapes, types and contents.

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
    """A hash of the files' names, sizes and a number that belongs to each; not of their contents,
    which takes too long to read. The folder that they lie in does not count: it may be moved."""
    found = hashlib.blake2b(digest_size=BITS // 8)
    root = os.path.commonpath(paths) if len(paths) > 1 else os.path.dirname(paths[0])
    for path, count in zip(paths, counts):
        name = os.path.relpath(path, root)
        found.update(f"{name} {os.path.getsize(path)} {count}\n".encode())
    return found.hexdigest()
