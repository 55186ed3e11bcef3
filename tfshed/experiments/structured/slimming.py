"""Network slimming: an L1 penalty on the scales of normalisation, then one cut over all of them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tfshed.core.arguments import check_number
from tfshed.experiments.structured.filters import filters_of


def put_scale_penalty(model: Any, rate: float) -> int:
    """Adds rate * sum |gamma| to the loss of a model, over all BatchNormalization layers.

    Call it before training and compile the model after it. The papers use 1e-4 (VGG) and 1e-5
    (PreResNet and DenseNet).

    Args:
        model: A built functional or Sequential model.
        rate: The factor of the penalty, > 0.

    Returns:
        The number of layers that have it.

    Raises:
        ValueError: `rate` is not above 0, or there is no such layer.

    Source: Liu et al. 2017, "Learning Efficient Convolutional Networks through Network Slimming"
    (arXiv 1708.06519), eq. 1.
    """
    rate = check_number("rate", rate, positive=True)
    found = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization) and layer.gamma is not None
    ]
    if not found:
        raise ValueError(f"model: expected BatchNormalization layers, found none in {model.name}")
    for layer in found:
        # On the layer for its copies, on the variable for this model.
        layer.gamma_regularizer = keras.regularizers.L1(rate)
        layer.gamma.regularizer = layer.gamma_regularizer
    return len(found)


def prune_by_scale(model: Any, ratio: float) -> dict[str, int]:
    """Sets the filters to zero whose |gamma| is lowest, over all layers at once, in place.

    Counted are the convolutions whose output a BatchNormalization reads. Each keeps at least one
    filter. `tfshed.export.shrink(model)` then makes the net smaller.

    Args:
        model: A built functional or Sequential model, trained with `put_scale_penalty`.
        ratio: The fraction of all filters that go, in [0, 1).

    Returns:
        For each layer the number of filters that went.

    Raises:
        ValueError: `ratio` is out of its range, or no convolution has a BatchNormalization.

    Source: as of `put_scale_penalty`, section 3.
    """
    if not 0 <= ratio < 1:
        raise ValueError(f"ratio: expected a number in [0, 1), received {ratio!r}")
    found = {
        name: filters
        for name, filters in filters_of(model).items()
        if filters.normalization is not None and filters.normalization.gamma is not None
    }
    if not found:
        raise ValueError(f"model: expected convolutions with normalisation, none in {model.name}")
    scales = {name: filters.scales() for name, filters in found.items()}
    every = np.concatenate(list(scales.values()))
    gone = np.zeros(every.size, bool)
    # Exactly so many; equal scales by their place.
    gone[np.argsort(every, kind="stable")[: int(every.size * ratio + 1e-9)]] = True
    counts, start = {}, 0
    for name, filters in found.items():
        mine = gone[start : start + filters.count].copy()
        start += filters.count
        if mine.all():
            mine[int(scales[name].argmax())] = False
        filters.remove(mine)
        counts[name] = int(mine.sum())
    return counts
