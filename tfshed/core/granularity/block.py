"""Blocks of adjacent channels, each kept or pruned as a whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfshed.core.arguments import check_bool, check_int
from tfshed.core.granularity.base import Axes, Granularity, check_pooling, register

# Weights of a block. With `pad` a kernel is made as large as one, whatever its own size.
MOST = 65536


@register("block")
@keras.saving.register_keras_serializable(package="tfshed")
@dataclasses.dataclass(frozen=True)
class Block(Granularity):
    """Blocks of `a` adjacent input channels x `b` adjacent output channels.

    All weights of a block belong to the same spatial position. Keep-ratios count blocks, and single
    weights inside a kept block are never pruned. `Block(4, 1)` is the paper's 4x1 pruning.

    Args:
        a: The number of adjacent input channels, >= 1. Default 4.
        b: The number of adjacent output channels, >= 1. Default 1.
        pooling: The score of a block: the "L2" norm (default), the mean "AVG", or the maximum "MAX"
            of the magnitudes (tfmot's `block_pooling_type`).
        pad: What happens to a kernel whose channels are no multiple of `a` or `b`. False (default):
            it is not pruned, and is reported. True: its last block is smaller.

    Raises:
        ValueError: `a` or `b` is no int >= 1, or `pooling` is unknown.

    >>> Block(4, 2, pooling="MAX").mask_shape((3, 3, 16, 32), Axes(2, 3))
    (3, 3, 4, 16)

    Source: section 3.3 of Azarian & Porikli 2021 (arXiv 2103.10629).
    """

    a: int = 4
    b: int = 1
    pooling: str = "L2"
    pad: bool = False

    def __post_init__(self) -> None:
        check_int("Block a", self.a, 1)
        check_int("Block b", self.b, 1)
        if self.a * self.b > MOST:
            raise ValueError(
                f"Block: expected at most {MOST} weights, received a={self.a}, b={self.b}; "
                "tfshed.granularity.Filter() prunes whole output channels"
            )
        check_pooling("Block", self.pooling)
        check_bool("Block pad", self.pad)

    @property
    def element_size(self) -> int:
        return self.a * self.b

    def as_tfmot(self) -> dict[str, Any]:
        # tfmot has no L2 norm.
        pooling = "AVG" if self.pooling == "L2" else self.pooling
        size = {"block_size": (self.a, self.b), "block_pooling_type": pooling}
        return {**super().as_tfmot(), **size}

    def _sides(self, axes: Axes) -> list[tuple[int | None, int, str]]:
        """The axes along which a block has more than one weight, as (axis, weights, kind)."""
        sides = [(axes.input, self.a, "input"), (axes.output, self.b, "output")]
        return [side for side in sides if side[1] > 1]

    def reason_to_skip(self, shape: Sequence[int], axes: Axes) -> str | None:
        for axis, size, kind in self._sides(axes):
            if axis is None:
                return f"no axis of {kind} channels for blocks of {size}"
            if shape[axis] % size and not self.pad:
                return f"{shape[axis]} {kind} channels are no multiple of {size} (Block pad=True)"
        return None

    def mask_shape(self, shape: Sequence[int], axes: Axes) -> tuple[int, ...]:
        out = list(shape)
        for axis, size, _ in self._sides(axes):
            assert axis is not None
            out[axis] = -(-out[axis] // size)
        return tuple(out)

    def _split(self, x: Any, axes: Axes) -> tuple[Any, list[int]]:
        """Splits each axis that blocks divide into two, (blocks, size).

        Returns the array, padded with zeros if needed, and the positions of the `size` axes.
        """
        sizes: list[int] = []
        # The last axis is split first, so that the numbers of the axes before it do not change.
        for axis, size, _ in sorted(self._sides(axes), key=lambda side: -(side[0] or 0)):
            assert axis is not None
            n = x.shape[axis]
            blocks = -(-n // size)
            if blocks * size != n:
                pad = [(0, 0)] * len(x.shape)
                pad[axis] = (0, blocks * size - n)
                x = ops.pad(x, pad)
            x = ops.reshape(x, (*x.shape[:axis], blocks, size, *x.shape[axis + 1 :]))
            sizes = [s + 1 for s in sizes] + [axis + 1]
        return x, sizes

    def magnitudes(self, weight: Any, axes: Axes) -> Any:
        w = ops.cast(weight, "float32")
        x, inner = self._split(w, axes)
        if self.pooling == "L2":
            return ops.sqrt(ops.sum(ops.square(x), axis=inner))
        if self.pooling == "MAX":
            return ops.max(ops.abs(x), axis=inner)
        present, _ = self._split(ops.ones_like(w), axes)
        return ops.sum(ops.abs(x), axis=inner) / ops.sum(present, axis=inner)

    def total(self, values: Any, axes: Axes) -> Any:
        x, inner = self._split(values, axes)
        return ops.sum(x, axis=inner) if inner else x

    def expand(self, mask: Any, shape: Sequence[int], axes: Axes) -> Any:
        for axis, size, _ in self._sides(axes):
            assert axis is not None
            wide = ops.expand_dims(mask, axis + 1)
            full = (*mask.shape[: axis + 1], size, *mask.shape[axis + 1 :])
            mask = ops.reshape(
                ops.broadcast_to(wide, full),
                (*mask.shape[:axis], mask.shape[axis] * size, *mask.shape[axis + 1 :]),
            )
            if mask.shape[axis] != shape[axis]:
                mask = mask[(slice(None),) * axis + (slice(0, shape[axis]),)]
        return mask
