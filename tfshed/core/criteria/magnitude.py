"""Pruning by magnitude: the smallest elements are pruned first."""

from __future__ import annotations

from typing import Any

import keras

from tfshed.core.criteria.base import Criterion, register
from tfshed.core.criteria.context import Context


@register("magnitude")
@keras.saving.register_keras_serializable(package="tfshed")
class Magnitude(Criterion):
    """Prunes the smallest magnitudes first. This is the default.

    The score of a weight is |w|; the score of a block or filter is the norm or mean that its
    granularity defines. With `scope="global"` this is global magnitude pruning.

    >>> from tfshed import criteria
    >>> criteria.get("magnitude")
    Magnitude()
    """

    signed = False
    grows_threshold = True
    scores_are_magnitudes = True

    def scores(self, context: Context) -> Any:
        return context.magnitudes
