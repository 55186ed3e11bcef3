"""Blocks of adjacent channels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfshed.core.arguments import check_int
from tfshed.core.granularity.base import Axes, Granularity, check_pooling, register


@register("block")
@keras.saving.register_keras_serializable(package="tfshed")
@dataclasses.dataclass(frozen=True)
class Block(Granularity):
    """Blocks of `a` adjacent input channels by `b` adjacent output channels, kept or pruned whole.

    `Block(4, 1)` is the 4x1 pruning of section 3.3 of Azarian & Porikli 2021 (arXiv 2103.10629):
    4 adjacent input channels of the same output channel and spatial position. Keep-ratios then
    count blocks, and weights inside a kept block are never pruned.

    Args:
        a: int >= 1, adjacent input channels; default 4.
        b: int >= 1, adjacent output channels; default 1.
        pooling: the block's score: "L2" norm (default), "AVG" or "MAX" of the magnitudes (tfmot's
            `block_pooling_type`).
        pad: a kernel whose channels `a` or `b` does not divide stays dense and is reported
            (False, default), or its last block is a smaller one (True).

    Raises:
        ValueError: a or b no int >= 1, unknown pooling.

    >>> Block(4, 1).mask_shape((3, 3, 16, 32), Axes(2, 3))
    (3, 3, 4, 32)
    """

    a: int = 4
    b: int = 1
    pooling: str = "L2"
    pad: bool = False

    def __post_init__(self) -> None:
        check_int("Block a", self.a, 1)
        check_int("Block b", self.b, 1)
        check_pooling("Block", self.pooling)

    @property
    def element_size(self) -> int:
        return self.a * self.b

    def as_tfmot(self) -> dict[str, Any]:
        # tfmot has no L2 norm.
        pooling = "AVG" if self.pooling == "L2" else self.pooling
        size = {"block_size": (self.a, self.b), "block_pooling_type": pooling}
        return {**super().as_tfmot(), **size}

    def _sides(self, axes: Axes) -> list[tuple[int | None, int, str]]:
        """The axes along which a block has more than one weight: (axis, weights, kind)."""
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
        """`x` with each divided axis as (blocks, size), and the positions of the size axes."""
        sizes: list[int] = []
        # From the last axis to the first, so that an axis' number still holds when it is split.
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
