"""Granularities that prune a fixed number of weights in every group: N:M and balanced sparsity."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from tfshed.core.arguments import MOST_INT, check_int
from tfshed.core.backend import INT32_MIN
from tfshed.core.granularity.base import Axes, Granularity, Ranking, register
from tfshed.core.selection import smallest_per_group


@dataclasses.dataclass(frozen=True)
class Grouped(Granularity):
    """Base of the granularities that prune the same number of elements in every group.

    A subclass defines the size of a group (`size`) and how many elements of each group are pruned
    at a sparsity (`drop_count`). A group consists of `size` adjacent input channels. A subclass
    with other groups overrides `reason_to_skip`, `split` and `join`.

    >>> import dataclasses, keras, tfshed
    >>> @keras.saving.register_keras_serializable(package="my_project")
    ... @dataclasses.dataclass(frozen=True)
    ... class AllButOne(tfshed.granularity.Grouped):
    ...     "One weight of every `size` adjacent input channels is kept."
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

    # A subclass may define it as a field, a property or a constant.
    size: ClassVar[Any]

    def drop_count(self, sparsity: Any) -> Any:
        """Returns how many elements of every group to prune: an int, or an int32 scalar tensor.

        Args:
            sparsity: The target sparsity, a Python float or a float32 scalar tensor.

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
            # Elements that were pruned before count among the smallest of their group.
            groups = self.split(ops.where(mask, keys, INT32_MIN), axes)
            pruned = self.join(smallest_per_group(groups, n), axes)
            kept.append(ops.logical_and(mask, ops.logical_not(pruned)))
        return kept

    def reason_to_skip(self, shape: Sequence[int], axes: Axes) -> str | None:
        if axes.input is None:
            return f"no axis of input channels for groups of {self.size}"
        if shape[axes.input] % self.size:
            return f"{shape[axes.input]} input channels are no multiple of {self.size}"
        return None

    def split(self, keys: Any, axes: Axes) -> Any:
        """Reshapes a tensor of the mask's shape to (..., groups, size)."""
        assert axes.input is not None
        x = ops.moveaxis(keys, axes.input, -1)
        return ops.reshape(x, (*x.shape[:-1], x.shape[-1] // self.size, self.size))

    def join(self, x: Any, axes: Axes) -> Any:
        """Reshapes a tensor that `split` returned to the mask's shape: the inverse of `split`."""
        assert axes.input is not None
        flat = ops.reshape(x, (*x.shape[:-2], x.shape[-2] * self.size))
        return ops.moveaxis(flat, -1, axes.input)


@register("nxm")
@keras.saving.register_keras_serializable(package="tfshed")
@dataclasses.dataclass(frozen=True)
class NxM(Grouped):
    """N:M sparsity: at most `n` non-zero weights among every `m` adjacent input channels.

    The sparsity is 1 - n / m. The schedule only decides when to prune: the first update with a
    target sparsity above 0 prunes to the whole pattern (as tfmot's `sparsity_m_by_n` does).

    Args:
        n: The number of weights kept in each group, 1 <= n < m. Default 2.
        m: The size of a group. Default 4.

    Raises:
        ValueError: `n` or `m` is no int >= 1, or `n` is not below `m`.

    >>> NxM(1, 4).drop_count(0.5)
    3
    """

    n: int = 2
    m: int = 4

    def __post_init__(self) -> None:
        check_int("NxM n", self.n, 1, MOST_INT)
        check_int("NxM m", self.m, 1, MOST_INT)
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
    """Balanced sparsity: every bank of adjacent input channels is pruned to the same sparsity.

    min(round(sparsity * bank), bank - 1) weights of each bank are pruned.

    Args:
        bank: The size of a bank, an int >= 2. Default 16.

    Raises:
        ValueError: `bank` is no int >= 2.

    >>> Balanced(8).drop_count(0.75)
    6
    """

    bank: int = 16

    def __post_init__(self) -> None:
        check_int("Balanced bank", self.bank, 2, MOST_INT)

    @property
    def size(self) -> int:
        return self.bank

    def drop_count(self, sparsity: Any) -> Any:
        if isinstance(sparsity, (int, float)):
            return min(round(sparsity * self.bank), self.bank - 1)
        count = ops.cast(ops.round(sparsity * self.bank), "int32")
        return ops.minimum(count, self.bank - 1)
