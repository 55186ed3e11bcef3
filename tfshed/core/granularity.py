"""What is kept or pruned together: single weights, blocks, or so many in every group.

A granularity maps a kernel to scores, one for each thing that is pruned as a whole, and a mask of
these back to the kernel. Two kinds: the scope's n smallest go wherever they are (`Unstructured`,
`Block`, `Filter`), or the smallest of every group go (`NxM`, `Balanced`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfshed.core.arguments import check_int

__all__ = ["Axes", "Balanced", "Block", "Filter", "Granularity", "NxM", "Unstructured"]

POOLINGS = ("L2", "AVG", "MAX")


@dataclasses.dataclass(frozen=True)
class Axes:
    """Which axis of a kernel runs over input channels and which over output channels.

    None where the kernel has no such axis: a depthwise kernel's outputs each have one input.
    """

    input: int | None
    output: int | None


@dataclasses.dataclass(frozen=True)
class Granularity:
    """Base of the granularities: frozen, comparable, serialisable by Keras."""

    def get_config(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Granularity:
        return cls(**config)

    # Whether the smallest of every group go, instead of the scope's smallest.
    grouped = False

    def reason_to_skip(self, shape: Sequence[int], axes: Axes) -> str | None:
        """Why a kernel of this shape must stay dense; None if it can be pruned."""
        return None

    def mask_shape(self, shape: Sequence[int], axes: Axes) -> tuple[int, ...]:
        """Shape of the mask: one element for each thing that is pruned as a whole."""
        return tuple(shape)

    def scores(self, weight: Any, axes: Axes) -> Any:
        """Float32 magnitudes, of the mask's shape."""
        return ops.abs(ops.cast(weight, "float32"))

    def spread(self, mask: Any, shape: Sequence[int], axes: Axes) -> Any:
        """The mask at the shape of the kernel."""
        return mask

    # Whether `spare` may bring something back.
    spares = False

    def spare(self, kept: Any, before: Any, keys: Any) -> Any:
        """The mask `kept` with what must not go with the rest of `before`."""
        return kept


@keras.saving.register_keras_serializable(package="tfshed")
@dataclasses.dataclass(frozen=True)
class Unstructured(Granularity):
    """Single weights; the default.

    >>> Unstructured().mask_shape((3, 3, 16, 32), Axes(2, 3))
    (3, 3, 16, 32)
    """

    def scores(self, weight: Any, axes: Axes) -> Any:
        # As they are: the keys take the magnitude from the bits, one pass fewer.
        return ops.cast(weight, "float32")


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
        if self.pooling not in POOLINGS:
            raise ValueError(
                f"Block pooling: expected one of {POOLINGS}, received {self.pooling!r}"
            )

    def _cuts(self, axes: Axes) -> list[tuple[int | None, int, str]]:
        cuts = [(axes.input, self.a, "input"), (axes.output, self.b, "output")]
        return [c for c in cuts if c[1] > 1]

    def reason_to_skip(self, shape: Sequence[int], axes: Axes) -> str | None:
        for axis, size, kind in self._cuts(axes):
            if axis is None:
                return f"no axis of {kind} channels for blocks of {size}"
            if shape[axis] % size and not self.pad:
                return f"{shape[axis]} {kind} channels are no multiple of {size} (Block pad=True)"
        return None

    def mask_shape(self, shape: Sequence[int], axes: Axes) -> tuple[int, ...]:
        out = list(shape)
        for axis, size, _ in self._cuts(axes):
            assert axis is not None
            out[axis] = -(-out[axis] // size)
        return tuple(out)

    def _split(self, x: Any, axes: Axes) -> tuple[Any, list[int]]:
        """`x` with each cut axis as (blocks, size), and the positions of the size axes."""
        sizes: list[int] = []
        # From the last axis to the first, so that an axis' number still holds when it is split.
        for axis, size, _ in sorted(self._cuts(axes), key=lambda c: -(c[0] or 0)):
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

    def scores(self, weight: Any, axes: Axes) -> Any:
        w = ops.cast(weight, "float32")
        x, inner = self._split(w, axes)
        if self.pooling == "L2":
            return ops.sqrt(ops.sum(ops.square(x), axis=inner))
        if self.pooling == "MAX":
            return ops.max(ops.abs(x), axis=inner)
        present, _ = self._split(ops.ones_like(w), axes)
        return ops.sum(ops.abs(x), axis=inner) / ops.sum(present, axis=inner)

    def spread(self, mask: Any, shape: Sequence[int], axes: Axes) -> Any:
        for axis, size, _ in self._cuts(axes):
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

    def count_in_block(self, x: Any, axes: Axes) -> Any:
        """How many elements of a bool tensor of the kernel's shape are True, for each block."""
        return ops.sum(self._split(ops.cast(x, "int32"), axes)[0], axis=self._split_axes(axes))

    def _split_axes(self, axes: Axes) -> list[int]:
        cut = sorted(c[0] for c in self._cuts(axes) if c[0] is not None)
        return [axis + 1 + i for i, axis in enumerate(cut)]


@keras.saving.register_keras_serializable(package="tfshed")
@dataclasses.dataclass(frozen=True)
class Filter(Granularity):
    """Whole output channels: all input channels and positions of a filter, or a unit of `Dense`.

    Keep-ratios count filters. With `scope="layer"` the filters of the lowest L1 norm of each layer
    go, as in Li et al. 2017, "Pruning Filters for Efficient ConvNets" (arXiv 1608.08710). With
    `scope="global"` layers compete, so the default score is the mean magnitude, which does not
    grow with the size of a filter. A kernel never loses its last filter, whatever the target and
    the threshold: its best one stays, so a global target may be missed by one filter a layer.

    A model's last layer has filters too, one for each output: leave it out with `select`.
    `tfshed.export.shrink` makes the model smaller afterwards.

    Args:
        pooling: the filter's score: "AVG" (default), the mean of the magnitudes: L1 norm / size;
            "L2" norm or "MAX" of the magnitudes.

    Raises:
        ValueError: unknown pooling.

    >>> Filter().mask_shape((3, 3, 16, 32), Axes(2, 3))
    (32,)
    """

    pooling: str = "AVG"
    spares = True

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise ValueError(
                f"Filter pooling: expected one of {POOLINGS}, received {self.pooling!r}"
            )

    def reason_to_skip(self, shape: Sequence[int], axes: Axes) -> str | None:
        if axes.output is None:
            return "no axis of output channels for filters"
        if axes.input is None:
            return "no axis of input channels: its outputs are no filters"
        return None

    def mask_shape(self, shape: Sequence[int], axes: Axes) -> tuple[int, ...]:
        assert axes.output is not None
        return (shape[axes.output],)

    def scores(self, weight: Any, axes: Axes) -> Any:
        x = ops.cast(weight, "float32")
        inner = [i for i in range(len(x.shape)) if i != axes.output]
        if self.pooling == "L2":
            return ops.sqrt(ops.sum(ops.square(x), axis=inner))
        pool = ops.max if self.pooling == "MAX" else ops.mean
        return pool(ops.abs(x), axis=inner)

    def spread(self, mask: Any, shape: Sequence[int], axes: Axes) -> Any:
        lined = [1] * len(shape)
        assert axes.output is not None
        lined[axes.output] = shape[axes.output]
        return ops.broadcast_to(ops.reshape(mask, lined), tuple(shape))

    def spare(self, kept: Any, before: Any, keys: Any) -> Any:
        best = ops.argmax(ops.where(before, keys, -1))
        last = ops.logical_and(before, ops.arange(before.shape[0]) == ops.cast(best, "int32"))
        return ops.where(ops.any(kept), kept, last)


@dataclasses.dataclass(frozen=True)
class _Grouped(Granularity):
    grouped = True

    @property
    def size(self) -> int:
        raise NotImplementedError

    def drop_count(self, sparsity: Any) -> Any:
        """How many of every full group go at this sparsity: int32 scalar."""
        raise NotImplementedError

    def reason_to_skip(self, shape: Sequence[int], axes: Axes) -> str | None:
        if axes.input is None:
            return f"no axis of input channels for groups of {self.size}"
        if shape[axes.input] % self.size:
            return f"{shape[axes.input]} input channels are no multiple of {self.size}"
        return None

    def split(self, keys: Any, axes: Axes) -> Any:
        """(..., groups, size): the groups lie along the input channels."""
        assert axes.input is not None
        x = ops.moveaxis(keys, axes.input, -1)
        return ops.reshape(x, (*x.shape[:-1], x.shape[-1] // self.size, self.size))

    def join(self, x: Any, axes: Axes) -> Any:
        """The inverse of `split`."""
        assert axes.input is not None
        flat = ops.reshape(x, (*x.shape[:-2], x.shape[-2] * self.size))
        return ops.moveaxis(flat, -1, axes.input)


@keras.saving.register_keras_serializable(package="tfshed")
@dataclasses.dataclass(frozen=True)
class NxM(_Grouped):
    """N:M sparsity: at most `n` non-zero weights in every `m` adjacent input channels.

    The first update that asks for any sparsity brings the whole pattern (as tfmot's
    `sparsity_m_by_n`); the schedule says when, not how much: the sparsity is 1 - n/m.

    Args:
        n: int, 1 <= n < m; weights kept in a group. Default 2.
        m: int, size of a group. Default 4.

    Raises:
        ValueError: n not below m, or no ints >= 1.

    >>> NxM(2, 4).drop_count(0.5)
    2
    """

    n: int = 2
    m: int = 4

    def __post_init__(self) -> None:
        check_int("NxM n", self.n, 1)
        check_int("NxM m", self.m, 1)
        if self.n >= self.m:
            raise ValueError(f"NxM: expected n < m, received n={self.n}, m={self.m}")

    @property
    def size(self) -> int:
        return self.m

    def drop_count(self, sparsity: Any) -> Any:
        if isinstance(sparsity, (int, float)):
            return (self.m - self.n) if sparsity > 0 else 0
        return ops.where(sparsity > 0, self.m - self.n, 0)


@keras.saving.register_keras_serializable(package="tfshed")
@dataclasses.dataclass(frozen=True)
class Balanced(_Grouped):
    """Every bank of `bank` adjacent input channels is pruned to the same level.

    Args:
        bank: int >= 2, size of a bank; default 16. Of each round(sparsity * bank) weights go, at
            most bank - 1.

    Raises:
        ValueError: bank no int >= 2.

    >>> Balanced(16).drop_count(0.75)
    12
    """

    bank: int = 16

    def __post_init__(self) -> None:
        check_int("Balanced bank", self.bank, 1)
        if self.bank < 2:
            raise ValueError(f"Balanced bank: expected an int >= 2, received {self.bank!r}")

    @property
    def size(self) -> int:
        return self.bank

    def drop_count(self, sparsity: Any) -> Any:
        if isinstance(sparsity, (int, float)):
            return min(round(sparsity * self.bank), self.bank - 1)
        count = ops.cast(ops.round(sparsity * self.bank), "int32")
        return ops.minimum(count, self.bank - 1)


def get(granularity: Granularity | None) -> Granularity:
    """`Unstructured()` for None, else the object itself.

    Raises:
        ValueError: no granularity.
    """
    if granularity is None:
        return Unstructured()
    if isinstance(granularity, Granularity):
        return granularity
    raise ValueError(
        "granularity: expected None, Block(a, b), Filter(), NxM(n, m), Balanced(bank) or another "
        f"tfshed.granularity.Granularity, received {granularity!r}"
    )
