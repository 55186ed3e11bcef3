"""What is inside of kept blocks: how many of their weights are degenerate, i.e. nearly zero.

Section 3.3 of Azarian & Porikli 2021 calls the number of a block's weights that are not degenerate
its L0, and counts a weight as degenerate below 6e-3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfshed.observe.snapshot_file import KernelInfo, MaskSnapshot

PAPERS_THRESHOLD = 6e-3


def relative_threshold(weights: Sequence[np.ndarray], keep_ratio: float) -> float:
    """The magnitude below which pruning of single weights to a keep-ratio would remove a weight.

    It depends on the weights and not on their scale: if all weights are doubled, so is it.

    Args:
        weights: the kernels.
        keep_ratio: in (0, 1].

    >>> relative_threshold([np.arange(1.0, 11.0)], 0.2)
    9.0
    """
    if not 0.0 < keep_ratio <= 1.0:
        raise ValueError(f"keep_ratio: expected a number in (0, 1], received {keep_ratio!r}")
    magnitudes = np.concatenate([np.abs(np.asarray(w)).ravel() for w in weights])
    kept = max(1, round(keep_ratio * magnitudes.size))
    return float(np.partition(magnitudes, magnitudes.size - kept)[magnitudes.size - kept])


def count_in_blocks(kernel: KernelInfo, flags: np.ndarray) -> np.ndarray:
    """How many weights of each block have a flag: an int array of the mask's shape.

    Args:
        kernel: with blocks, or with single weights, which count as blocks of one.
        flags: bool, of the kernel's shape.

    Raises:
        ValueError: the flags have another shape.
    """
    if flags.shape != tuple(kernel.shape):
        raise ValueError(f"flags: expected the shape {kernel.shape}, received {flags.shape}")
    x = flags.astype(np.int64)
    for axis, size in zip(kernel.axes, kernel.block or (1, 1)):
        if size > 1:
            assert axis is not None  # the granularity refuses kernels without that axis
            ends = np.arange(0, x.shape[axis], size)
            x = np.add.reduceat(x, ends, axis=axis)
    return x


def l0_pmf(snapshot: MaskSnapshot, threshold: float = PAPERS_THRESHOLD) -> np.ndarray:
    """Which share of the kept blocks has 0, 1, ... weights that are not degenerate.

    Args:
        snapshot: of a run with blocks, with its weights.
        threshold: a weight below it is degenerate. Default: the paper's 6e-3; for a relative one
            give what `relative_threshold` returns.

    Returns:
        A float array with one number more than a block has weights; zeros if no block is kept.

    Raises:
        ValueError: the snapshot has no weights or no blocks.
    """
    kernels, weights = _with_blocks(snapshot)
    size = max(a * b for a, b in (k.block or (1, 1) for k in kernels))
    found = np.zeros(size + 1, np.int64)
    for kernel, weight, mask in zip(kernels, weights, snapshot.masks):
        l0 = count_in_blocks(kernel, ~(np.abs(weight) < threshold))
        found += np.bincount(l0[mask], minlength=size + 1)
    return found / max(1, int(found.sum()))


def degenerate_share(snapshot: MaskSnapshot, threshold: float = PAPERS_THRESHOLD) -> float:
    """The share of degenerate weights among all weights of kept blocks; 0 if no block is kept.

    Arguments and errors as in `l0_pmf`.
    """
    kernels, weights = _with_blocks(snapshot)
    small = there = 0
    for kernel, weight, mask in zip(kernels, weights, snapshot.masks):
        small += int(count_in_blocks(kernel, np.abs(weight) < threshold)[mask].sum())
        # A last block that is padded has fewer weights than others.
        there += int(count_in_blocks(kernel, np.ones(weight.shape, bool))[mask].sum())
    return small / there if there else 0.0


def _with_blocks(snapshot: MaskSnapshot) -> tuple[Sequence[KernelInfo], list[np.ndarray]]:
    if snapshot.weights is None:
        raise ValueError(
            f"snapshot of step {snapshot.step}: expected one with weights, received masks alone. "
            "Make snapshots with MaskSnapshots(weights=True)."
        )
    if not any(k.block for k in snapshot.kernels):
        raise ValueError(
            f"snapshot of step {snapshot.step}: expected kernels pruned in blocks, received "
            "masks of single weights, groups or filters"
        )
    return snapshot.kernels, snapshot.weights
