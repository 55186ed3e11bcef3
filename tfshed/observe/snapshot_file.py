"""Snapshots of masks in files: packed bits, magnitude histograms and, on demand, the weights."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfshed.observe.replace_file import replace_file

# The folder of the snapshots within that of a run, and what all of them have in common.
MASKS = "masks"
KERNELS = "kernels.json"
NAME = re.compile(r"step-(\d+)\.npz")
# Magnitudes are counted in bins of a quarter of an octave, from 2^-40 to 2^8. The first bin has all
# that is smaller, zero among it; the last one has all that is larger, infinity and NaN among it.
BIN_EDGES = 2.0 ** np.arange(-40, 8.25, 0.25)


@dataclasses.dataclass(frozen=True)
class KernelInfo:
    """What is the same in all snapshots of a kernel.

    Attributes:
        path: Of the variable, such as "net/head/kernel".
        shape: Of the kernel.
        mask_shape: Of its mask; that of the kernel where single weights are pruned.
        axes: The axes of the input and of the output channels; None where it has none.
        block: (input channels, output channels) of a block where blocks are pruned, else None.
    """

    path: str
    shape: tuple[int, ...]
    mask_shape: tuple[int, ...]
    axes: tuple[int | None, int | None]
    block: tuple[int, int] | None

    @property
    def elements(self) -> int:
        """The number of weights (blocks) that the mask has."""
        return int(np.prod(self.mask_shape))


@dataclasses.dataclass(frozen=True, eq=False)
class MaskSnapshot:
    """The masks of a run at one moment.

    Attributes:
        step, epoch: When it was made: optimizer steps done, epochs begun.
        kernels: What each kernel is.
        masks: A bool array of each kernel's mask shape; True = kept.
        thresholds: float32, the threshold of each kernel.
        target: The target keep-ratio; where there are several pruning groups, that of the first.
        counts: int64 (kernels, bins), how many weights of each kernel have a magnitude in each of
            the bins between `BIN_EDGES`, and how many have one below or above all of them.
        weights: A float32 array for each kernel, or None if they were not kept.
    """

    step: int
    epoch: int
    kernels: tuple[KernelInfo, ...]
    masks: list[np.ndarray]
    thresholds: np.ndarray
    target: float
    counts: np.ndarray
    weights: list[np.ndarray] | None = None

    @property
    def keep_ratio(self) -> float:
        """Kept weights (blocks) / all of them."""
        return sum(int(m.sum()) for m in self.masks) / sum(m.size for m in self.masks)


def magnitude_counts(weight: np.ndarray) -> np.ndarray:
    """How many magnitudes lie in each of the bins of `MaskSnapshot.counts`.

    >>> counts = magnitude_counts(np.array([0.0, 1.0, -1.1, 500.0]))
    >>> int(counts[0]), int(counts.max()), int(counts[-1])
    (1, 2, 1)
    """
    magnitudes = np.abs(np.asarray(weight, "float64")).ravel()
    # NaN is no number below an edge, so it is counted above all of them.
    places = np.searchsorted(BIN_EDGES, np.nan_to_num(magnitudes, nan=np.inf), side="right")
    return np.bincount(places, minlength=len(BIN_EDGES) + 1).astype("int64")


def packed_size(kernels: Sequence[KernelInfo], weights: bool) -> int:
    """The bytes of one snapshot in a file, without the headers of some hundred bytes per array."""
    bits = sum(-(-k.elements // 8) for k in kernels)
    counts = 8 * (len(BIN_EDGES) + 1) * len(kernels)
    stored = 4 * sum(int(np.prod(k.shape)) for k in kernels) if weights else 0
    return bits + counts + 4 * len(kernels) + stored


def write_kernels(folder: Path, kernels: Sequence[KernelInfo]) -> None:
    """Writes what the snapshots of a folder have in common."""
    text = json.dumps([dataclasses.asdict(k) for k in kernels], indent=1)

    def write(path: Path) -> None:
        path.write_text(text, encoding="utf-8")

    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / KERNELS, write)


def write_snapshot(folder: Path, snapshot: MaskSnapshot) -> Path:
    """Writes one snapshot as `step-00000012.npz`; eight elements of a mask are one byte."""
    arrays: dict[str, Any] = {
        "step": np.int64(snapshot.step),
        "epoch": np.int64(snapshot.epoch),
        "target": np.float64(snapshot.target),
        "thresholds": snapshot.thresholds,
        "counts": snapshot.counts,
    }
    arrays |= {f"mask_{i}": np.packbits(m, axis=None) for i, m in enumerate(snapshot.masks)}
    for i, weight in enumerate(snapshot.weights or ()):
        arrays[f"weight_{i}"] = weight
    path = folder / f"step-{snapshot.step:08d}.npz"
    replace_file(path, lambda beside: np.savez(beside, **arrays))
    return path


def snapshot_steps(folder: Path) -> list[int]:
    """The steps of the snapshots in a folder, in order."""
    found = [NAME.fullmatch(path.name) for path in folder.glob("step-*.npz")]
    return sorted(int(match[1]) for match in found if match)


def read_snapshots(folder: Path) -> list[MaskSnapshot]:
    """All snapshots of a folder, in the order of their steps.

    Raises:
        FileNotFoundError: there are none.
        ValueError: a file cannot be read, or does not fit the kernels.
    """
    steps = snapshot_steps(folder)
    if not steps or not (folder / KERNELS).is_file():
        raise FileNotFoundError(
            f"{folder}: expected the snapshots of tfshed.MaskSnapshots, found none. Train with "
            "that callback, or with config.snapshots.every_epochs=1 in a recipe."
        )
    kernels = tuple(
        KernelInfo(
            entry["path"],
            tuple(entry["shape"]),
            tuple(entry["mask_shape"]),
            (entry["axes"][0], entry["axes"][1]),
            None if entry["block"] is None else (int(entry["block"][0]), int(entry["block"][1])),
        )
        for entry in json.loads((folder / KERNELS).read_text(encoding="utf-8"))
    )
    return [_read(folder / f"step-{step:08d}.npz", kernels) for step in steps]


def _read(path: Path, kernels: tuple[KernelInfo, ...]) -> MaskSnapshot:
    try:
        with np.load(path, allow_pickle=False) as found:
            masks = [
                np.unpackbits(found[f"mask_{i}"], count=k.elements).astype(bool)
                for i, k in enumerate(kernels)
            ]
            weights = [found[f"weight_{i}"] for i in range(len(kernels)) if f"weight_{i}" in found]
            return MaskSnapshot(
                int(found["step"]),
                int(found["epoch"]),
                kernels,
                [m.reshape(k.mask_shape) for m, k in zip(masks, kernels)],
                found["thresholds"],
                float(found["target"]),
                found["counts"],
                weights or None,
            )
    except Exception as error:  # a damaged archive can raise nearly anything
        raise ValueError(
            f"{path}: expected a snapshot of the {len(kernels)} kernels in {KERNELS}, and it "
            f"cannot be read ({error}). Delete it, and the other snapshots can be read."
        ) from error
