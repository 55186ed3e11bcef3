"""The base of all granularities, which divide a kernel into elements that are kept or pruned."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from tfshed.core.backend import bits, cond, float_of
from tfshed.core.counting import target_count
from tfshed.core.registry import Registry
from tfshed.core.selection import fold_signed, smallest

GRANULARITIES: Registry[type[Granularity]] = Registry("granularity")
register = GRANULARITIES.register

POOLINGS = ("L2", "AVG", "MAX")


@dataclasses.dataclass(frozen=True)
class Axes:
    """Which axis of a kernel is that of input channels, and which that of output channels.

    Either is None if the kernel has no such axis. A depthwise kernel, for example, has only one
    input channel for each output.
    """

    input: int | None
    output: int | None


class Ranking(NamedTuple):
    """The elements of all kernels, from which a granularity selects those to prune.

    Attributes:
        keys: An int32 tensor for each kernel, in its mask's shape. Elements with smaller keys are
            pruned first.
        masks: A bool tensor for each kernel, True for the elements that may be pruned.
        axes: The channel axes of each kernel.
        scopes: The number of the scope that each kernel belongs to: 0, 1, ...
        available: int32 (scopes,), how many elements of each scope may be pruned.
        totals: numpy int64 (scopes,), how many elements each scope has.
        sparsity: float32 scalar, the target sparsity.
        signed: Whether keys can be negative.
    """

    keys: Sequence[Any]
    masks: Sequence[Any]
    axes: Sequence[Axes]
    scopes: Sequence[int]
    available: Any
    totals: np.ndarray
    sparsity: Any
    signed: bool


@dataclasses.dataclass(frozen=True)
class Granularity:
    """Base of the granularities. They are frozen, can be compared, and can be saved by Keras.

    A granularity divides a kernel into *elements*, each of which is kept or pruned as a whole. This
    base class prunes single weights, ranked over the whole scope; a subclass overrides what
    differs. A subclass with larger elements overrides `mask_shape`, `magnitudes`, `expand` and, to
    work with criteria that look at gradients, `total`. A granularity that prunes a fixed number of
    elements in every group derives from `Grouped`.

    >>> import keras, tfshed
    >>> from keras import ops
    >>> @keras.saving.register_keras_serializable(package="my_project")
    ... class Rows(tfshed.granularity.Granularity):
    ...     "All weights of an input channel are kept or pruned together; for matrices."
    ...
    ...     def mask_shape(self, shape, axes):
    ...         return (shape[0],)
    ...
    ...     def magnitudes(self, weight, axes):
    ...         return ops.max(ops.abs(ops.cast(weight, "float32")), axis=1)
    ...
    ...     def expand(self, mask, shape, axes):
    ...         return ops.broadcast_to(ops.expand_dims(mask, 1), tuple(shape))
    >>> net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> kernel = tfshed.sparsify(net, 0.75, granularity=Rows()).get_weights()[0]
    >>> int((kernel != 0).any(axis=1).sum()), int((kernel != 0).sum())
    (2, 8)
    """

    def get_config(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Granularity:
        return cls(**config)

    # --- The elements of a kernel.

    def reason_to_skip(self, shape: Sequence[int], axes: Axes) -> str | None:
        """Returns why a kernel of this shape must stay dense; None if it can be pruned."""
        return None

    def mask_shape(self, shape: Sequence[int], axes: Axes) -> tuple[int, ...]:
        """Returns the shape of a kernel's mask, which has one value for each element."""
        return tuple(shape)

    def magnitudes(self, weight: Any, axes: Axes) -> Any:
        """Returns the magnitude of each element: float32 >= 0, in the mask's shape."""
        # The sign bit is cleared in place of `abs`, which may flush denormal numbers to zero in a
        # compiled step.
        return float_of(bits(weight))

    def magnitude_bits(self, weight: Any, axes: Axes) -> Any:
        """Returns the bits of `magnitudes` as int32, which order like the magnitudes."""
        return bits(self.magnitudes(weight, axes))

    def total(self, values: Any, axes: Axes) -> Any:
        """Returns the sum of `values` over the weights of each element, in the mask's shape.

        Args:
            values: A float32 or int32 tensor of the kernel's shape.
            axes: The kernel's channel axes.

        Raises:
            NotImplementedError: A subclass with elements of several weights did not override it.
        """
        if self.mask_shape(tuple(values.shape), axes) != tuple(values.shape):
            raise NotImplementedError(
                f"{type(self).__name__} must define total(values, axes), the sum over the weights "
                "of each element, to be used with a criterion that needs it"
            )
        return values

    def expand(self, mask: Any, shape: Sequence[int], axes: Axes) -> Any:
        """Returns the mask in the shape of the kernel, one value for each weight."""
        return mask

    @property
    def element_size(self) -> int | None:
        """The number of weights in an element; None if it depends on the kernel."""
        return 1

    def as_tfmot(self) -> dict[str, Any]:
        """Returns the three arguments of tfmot that come closest to this granularity.

        >>> from tfshed import NxM
        >>> NxM(1, 4).as_tfmot()
        {'block_size': (1, 1), 'block_pooling_type': 'AVG', 'sparsity_m_by_n': (3, 4)}
        """
        return {"block_size": (1, 1), "block_pooling_type": "AVG", "sparsity_m_by_n": None}

    # --- Which elements are pruned.

    # Whether the elements of a whole scope are ranked together. Only then are all kept elements
    # above the largest magnitude that was pruned, so that this can be the threshold.
    ranks_scope = True
    # Whether the target sparsity matters, or only whether it is above 0.
    follows_schedule = True
    # Whether a kernel always keeps at least one element, whatever the target and the threshold.
    keeps_last = False

    def keep_ratio(self, target: float) -> float:
        """Returns the keep-ratio that is reached when the schedule asks for `target`.

        >>> from tfshed import Balanced, Block
        >>> Block(4, 1).keep_ratio(0.7), Balanced(4).keep_ratio(0.7)
        (0.7, 0.75)
        """
        return target

    def select(self, ranking: Ranking) -> list[Any]:
        """Returns the masks of what is kept after every scope was pruned to the target.

        In each scope, exactly `available - target_count(sparsity, totals)` elements are pruned,
        those with the smallest keys. Among equal keys the order is by position. If the target is
        already reached, nothing is pruned.
        """
        surplus = ops.maximum(ranking.available - target_count(ranking.sparsity, ranking.totals), 0)
        return list(
            cond(
                ops.any(surplus > 0),
                lambda: self._without_smallest(ranking, surplus),
                lambda: list(ranking.masks),
            )
        )

    def _without_smallest(self, ranking: Ranking, surplus: Any) -> list[Any]:
        keys, masks, scopes = list(ranking.keys), ranking.masks, ranking.scopes
        if ranking.signed:
            keys = fold_signed(keys, masks, scopes, surplus)
        # Elements that may not be pruned get the key -1. They are then among the smallest, which is
        # taken into account in `n`.
        keys = [ops.where(m, k, -1) for k, m in zip(keys, masks)]
        unavailable = ops.convert_to_tensor(ranking.totals.astype("int32")) - ranking.available
        n = ops.where(surplus > 0, unavailable + surplus, 0)
        pruned = smallest(keys, scopes, n, unavailable)
        kept = [ops.logical_and(m, ops.logical_not(g)) for m, g in zip(masks, pruned)]
        return [self.with_last(a, m, k) for a, m, k in zip(kept, masks, keys)]

    def with_last(self, kept: Any, before: Any, keys: Any) -> Any:
        """Returns the mask `kept`, plus one element of `before` if the kernel must keep one."""
        return kept


def check_pooling(name: str, pooling: Any) -> None:
    """Raises ValueError unless `pooling` is a known way to combine magnitudes into one."""
    if not isinstance(pooling, str) or pooling not in POOLINGS:
        raise ValueError(f"{name} pooling: expected one of {POOLINGS}, received {pooling!r}")
