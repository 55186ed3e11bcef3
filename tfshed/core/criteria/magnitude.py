"""The smallest go first."""

from __future__ import annotations

from typing import Any

import keras

from tfshed.core.criteria.base import Criterion, register
from tfshed.core.criteria.context import Context


@register("magnitude")
@keras.saving.register_keras_serializable(package="tfshed")
class Magnitude(Criterion):
    """The smallest magnitudes go first; the default.

    The score of a weight is |w|, that of a block or filter what its granularity pools it to. With
    `scope="global"` this is global magnitude pruning.

    >>> from tfshed import criteria
    >>> criteria.get("magnitude")
    Magnitude()
    """

    signed = False
    grows_threshold = True
    scores_are_magnitudes = True

    def scores(self, context: Context) -> Any:
        return context.magnitudes
