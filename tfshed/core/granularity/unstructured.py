"""Unstructured pruning, the pruning of single weights."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from tfshed.core.backend import bits
from tfshed.core.granularity.base import Axes, Granularity, register


@register("unstructured")
@keras.saving.register_keras_serializable(package="tfshed")
@dataclasses.dataclass(frozen=True)
class Unstructured(Granularity):
    """Single weights. This is the default.

    >>> from tfshed.core.granularity import Axes, Unstructured
    >>> Unstructured().mask_shape((3, 3, 16, 32), Axes(2, 3))
    (3, 3, 16, 32)
    """

    def magnitude_bits(self, weight: Any, axes: Axes) -> Any:
        # The bits are read directly from the weight, which saves a pass for the magnitudes.
        return bits(weight)
