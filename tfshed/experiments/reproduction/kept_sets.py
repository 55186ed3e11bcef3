"""Sets of kept weights compared: their overlap, and how many weights of kept blocks are small."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfshed.experiments.reproduction.records import Record

BLOCK = 4
Arrays = Sequence[np.ndarray]


def overlap(one: Arrays, other: Arrays) -> float:
    """Intersection over union of the weights that are not zero in two nets.

    >>> import numpy as np
    >>> overlap([np.array([1, 0, 2])], [np.array([3, 4, 0])])
    0.333...
    """
    both = sum(int(np.count_nonzero((a != 0) & (b != 0))) for a, b in zip(one, other, strict=True))
    either = sum(
        int(np.count_nonzero((a != 0) | (b != 0))) for a, b in zip(one, other, strict=True)
    )
    return both / either if either else 1.0


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


def degenerate_below(dense: Arrays, keep: float) -> float:
    """The magnitude below which unstructured pruning of a net to this keep-ratio would prune.

    The paper calls weights of ResNet50 below 6e-3 degenerate. Nets of another size have weights
    of another size, so this is taken from the net before it is pruned.

    >>> import numpy as np
    >>> degenerate_below([np.array([1.0, -4.0, 2.0, 3.0])], keep=0.5)
    3.0
    """
    magnitudes = np.sort(np.concatenate([np.abs(kernel).ravel() for kernel in dense]))
    return float(magnitudes[round((1 - keep) * len(magnitudes))])


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


def final_overlap(one: Record, other: Record) -> float:
    """The overlap of the weights that two runs keep in the end."""
    return overlap(one.weights(len(one.epochs)), other.weights(len(other.epochs)))


def final_block_overlap(one: Record, other: Record) -> float:
    """The overlap of the 4x1 blocks that two runs keep in the end."""
    ends = (blocks_kept(run.weights(len(run.epochs))) for run in (one, other))
    return overlap(*ends)
