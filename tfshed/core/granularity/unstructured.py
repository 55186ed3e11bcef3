"""Single weights."""

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
    """Single weights; the default.

    >>> from tfshed.core.granularity import Axes, Unstructured
    >>> Unstructured().mask_shape((3, 3, 16, 32), Axes(2, 3))
    (3, 3, 16, 32)
    """

    def magnitude_bits(self, weight: Any, axes: Axes) -> Any:
        # Straight from the weight: without a pass for the magnitudes themselves.
        return bits(weight)
