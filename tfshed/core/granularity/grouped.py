"""So many weights of every group: N:M and balanced sparsity."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from tfshed.core.arguments import check_int
from tfshed.core.backend import INT32_MIN
from tfshed.core.granularity.base import Axes, Granularity, Ranking, register
from tfshed.core.selection import smallest_per_group


@dataclasses.dataclass(frozen=True)
class Grouped(Granularity):
    """Base of the granularities that prune so many elements of every group, wherever they are best.

    A subclass says how large a group is (`size`) and how many of one go at a sparsity
    (`drop_count`). Groups are `size` adjacent input channels; a subclass whose groups lie elsewhere
    overrides `reason_to_skip`, `split` and `join`.

    >>> import dataclasses, keras, tfshed
    >>> @keras.saving.register_keras_serializable(package="my_project")
    ... @dataclasses.dataclass(frozen=True)
    ... class AllButOne(tfshed.granularity.Grouped):
    ...     "One weight of every `size` adjacent input channels stays."
    ...
    ...     size: int = 4
    ...
    ...     def drop_count(self, sparsity):
    ...         return self.size - 1
    >>> net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])
    >>> kernel = tfshed.sparsify(net, 0.5, granularity=AllButOne(4)).get_weights()[0]
    >>> (kernel != 0).reshape(2, 4, 3).sum(axis=1).tolist()
    [[1, 1, 1], [1, 1, 1]]
    """

    ranks_scope = False

    # A subclass may have it as a field.
    size: ClassVar[Any]

    def drop_count(self, sparsity: Any) -> Any:
        """Returns how many elements of every group go: an int, or an int32 scalar tensor.

        Args:
            sparsity: The schedule's target, a Python float or a float32 scalar tensor.

        Raises:
            NotImplementedError: A subclass did not define it.
        """
        raise NotImplementedError(f"{type(self).__name__} must define drop_count(sparsity)")

    def keep_ratio(self, target: float) -> float:
        return 1.0 - int(self.drop_count(1.0 - target)) / self.size if target < 1.0 else target

    def select(self, ranking: Ranking) -> list[Any]:
        n = self.drop_count(ranking.sparsity)
        kept = []
        for keys, mask, axes in zip(ranking.keys, ranking.masks, ranking.axes):
            # What may not go counts among the smallest.
            groups = self.split(ops.where(mask, keys, INT32_MIN), axes)
            gone = self.join(smallest_per_group(groups, n), axes)
            kept.append(ops.logical_and(mask, ops.logical_not(gone)))
        return kept

    def reason_to_skip(self, shape: Sequence[int], axes: Axes) -> str | None:
        if axes.input is None:
            return f"no axis of input channels for groups of {self.size}"
        if shape[axes.input] % self.size:
            return f"{shape[axes.input]} input channels are no multiple of {self.size}"
        return None

    def split(self, keys: Any, axes: Axes) -> Any:
        """Returns a tensor of the mask's shape as (..., groups, size)."""
        assert axes.input is not None
        x = ops.moveaxis(keys, axes.input, -1)
        return ops.reshape(x, (*x.shape[:-1], x.shape[-1] // self.size, self.size))

    def join(self, x: Any, axes: Axes) -> Any:
        """Returns what `split` made, at the mask's shape again: its inverse."""
        assert axes.input is not None
        flat = ops.reshape(x, (*x.shape[:-2], x.shape[-2] * self.size))
        return ops.moveaxis(flat, -1, axes.input)


@register("nxm")
@keras.saving.register_keras_serializable(package="tfshed")
@dataclasses.dataclass(frozen=True)
class NxM(Grouped):
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

    follows_schedule = False

    def as_tfmot(self) -> dict[str, Any]:
        return {**super().as_tfmot(), "sparsity_m_by_n": (self.m - self.n, self.m)}

    def drop_count(self, sparsity: Any) -> Any:
        if isinstance(sparsity, (int, float)):
            return (self.m - self.n) if sparsity > 0 else 0
        return ops.where(sparsity > 0, self.m - self.n, 0)


@register("balanced")
@keras.saving.register_keras_serializable(package="tfshed")
@dataclasses.dataclass(frozen=True)
class Balanced(Grouped):
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
        check_int("Balanced bank", self.bank, 2)

    @property
    def size(self) -> int:
        return self.bank

    def drop_count(self, sparsity: Any) -> Any:
        if isinstance(sparsity, (int, float)):
            return min(round(sparsity * self.bank), self.bank - 1)
        count = ops.cast(ops.round(sparsity * self.bank), "int32")
        return ops.minimum(count, self.bank - 1)
