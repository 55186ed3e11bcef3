"""Whole filters (output channels), each kept or pruned as a whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfshed.core.granularity.base import Axes, Granularity, check_pooling, register


@register("filter")
@keras.saving.register_keras_serializable(package="tfshed")
@dataclasses.dataclass(frozen=True)
class Filter(Granularity):
    """Whole output channels: the filters of a convolution, or the units of a dense layer.

    Keep-ratios count filters. With `scope="layer"`, the filters with the lowest L1 norm in each
    layer are removed (Li et al. 2017). With `scope="global"`, the filters of different layers are
    compared with each other. The default score is therefore the mean magnitude, which does not
    depend on the size of a filter. Every kernel keeps at least one filter, its best, whatever the
    target and the threshold. A global target may therefore be missed by one filter for each layer.

    The filters of a model's last layer are its outputs: exclude this layer with `select`. After
    pruning, `tfshed.export.shrink` makes the model smaller.

    Args:
        pooling: The score of a filter: "AVG" (default), the mean of the magnitudes, which is the L1
            norm divided by the size; the "L2" norm; or "MAX", the maximum of the magnitudes.

    Raises:
        ValueError: `pooling` is unknown.

    >>> Filter(pooling="L2").mask_shape((3, 3, 16, 32), Axes(2, 3))
    (32,)

    Source: Li et al. 2017, "Pruning Filters for Efficient ConvNets" (arXiv 1608.08710).
    """

    pooling: str = "AVG"
    keeps_last = True

    def __post_init__(self) -> None:
        check_pooling("Filter", self.pooling)

    def reason_to_skip(self, shape: Sequence[int], axes: Axes) -> str | None:
        if axes.output is None:
            return "no axis of output channels for filters"
        if axes.input is None:
            return "no axis of input channels: its outputs are no filters"
        return None

    def mask_shape(self, shape: Sequence[int], axes: Axes) -> tuple[int, ...]:
        assert axes.output is not None
        return (shape[axes.output],)

    @property
    def element_size(self) -> None:
        return None

    def magnitudes(self, weight: Any, axes: Axes) -> Any:
        x = ops.cast(weight, "float32")
        inner = [i for i in range(len(x.shape)) if i != axes.output]
        if self.pooling == "L2":
            return ops.sqrt(ops.sum(ops.square(x), axis=inner))
        pool = ops.max if self.pooling == "MAX" else ops.mean
        return pool(ops.abs(x), axis=inner)

    def total(self, values: Any, axes: Axes) -> Any:
        return ops.sum(values, axis=[i for i in range(len(values.shape)) if i != axes.output])

    def expand(self, mask: Any, shape: Sequence[int], axes: Axes) -> Any:
        lined = [1] * len(shape)
        assert axes.output is not None
        lined[axes.output] = shape[axes.output]
        return ops.broadcast_to(ops.reshape(mask, lined), tuple(shape))

    def with_last(self, kept: Any, before: Any, keys: Any) -> Any:
        # The smallest key, -1, excludes filters that were pruned before.
        best = ops.argmax(ops.where(before, keys, -1))
        last = ops.logical_and(before, ops.arange(before.shape[0]) == ops.cast(best, "int32"))
        return ops.where(ops.any(kept), kept, last)
