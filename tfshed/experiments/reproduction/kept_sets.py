"""Sets of kept weights compared: their overlap, and how many weights of kept blocks are small."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfshed.experiments.analysis.kept_sets import iou
from tfshed.experiments.reproduction.records import Record

BLOCK = 4
Arrays = Sequence[np.ndarray]


def kept(kernels: Arrays) -> list[np.ndarray]:
    """For each weight whether it is kept: whether it is not exactly zero."""
    return [np.asarray(kernel != 0) for kernel in kernels]


def blocks(kernels: Arrays) -> list[np.ndarray]:
    """The 4x1 blocks of kernels as rows of four, without kernels whose inputs do not divide by 4.

    >>> import numpy as np
    >>> [rows.shape for rows in blocks([np.zeros((3, 3, 8, 5)), np.zeros((3, 3, 1, 5))])]
    [(90, 4)]
    """
    found = []
    for kernel in kernels:
        inputs, outputs = kernel.shape[-2:]
        if inputs % BLOCK == 0:
            cut = kernel.reshape(-1, inputs // BLOCK, BLOCK, outputs)
            found.append(np.moveaxis(cut, 2, -1).reshape(-1, BLOCK))
    return found


def blocks_kept(kernels: Arrays) -> list[np.ndarray]:
    """For each 4x1 block whether it is kept, as one array for each kernel."""
    return [np.asarray(rows.any(axis=1)) for rows in blocks(kernels)]


def norm_counts(kernels: Arrays, threshold: float) -> np.ndarray:
    """The PMF of L0: the shares of kept blocks with 0, 1, ... 4 weights of at least `threshold`.

    >>> import numpy as np
    >>> norm_counts([np.array([[1.0], [0.1], [1.0], [0.1]])], 0.5).tolist()
    [0.0, 0.0, 1.0, 0.0, 0.0]
    """
    rows = np.concatenate(blocks(kernels))
    kept = rows[rows.any(axis=1)]
    large = np.count_nonzero(np.abs(kept) >= threshold, axis=1)
    return np.bincount(large, minlength=BLOCK + 1) / max(1, len(kept))


def degenerate_share(kernels: Arrays, threshold: float) -> float:
    """The share of the weights of kept blocks that are below a threshold.

    >>> import numpy as np
    >>> degenerate_share([np.array([[1.0], [0.1], [1.0], [0.1]])], 0.5)
    0.5
    """
    shares = norm_counts(kernels, threshold)
    return float(1 - shares @ np.arange(BLOCK + 1) / BLOCK)


def final_iou(one: Record, other: Record) -> float:
    """The IoU of the weights that two runs keep in the end."""
    return iou(*(kept(run.weights(len(run.epochs))) for run in (one, other)))
