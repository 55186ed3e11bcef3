"""`prune_filters`: zeroes the filters of lowest norm, or any, with a ratio for each layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfshed.core.near_miss import near_miss
from tfshed.experiments.structured.filters import filters_of

NORMS = ("l1", "l2", "random")


def prune_filters(
    model: Any,
    ratios: Mapping[str, float],
    *,
    norm: str = "l1",
    seed: int = 0,
    normalization: bool = True,
) -> dict[str, int]:
    """Sets filters of convolutions to zero, in place, in each layer a ratio of its own.

    Of n filters int(n (1 - ratio)) stay, and at least one, as in the code of Liu et al. 2019.
    `tfshed.export.shrink(model)` then makes a smaller net with the same outputs, which is what
    papers on filter pruning train on.

    Args:
        model: A built functional or Sequential model with `Conv2D` layers.
        ratios: For names of layers the fraction of filters that go, in [0, 1). Layers that are not
            named keep all filters. See `preset` for those of papers.
        norm: Which filters go: those with the lowest sum of magnitudes ("l1", the default), with
            the lowest root of the sum of squares ("l2"), or any ("random").
        seed: Of "random". Default 0.
        normalization: Whether gamma and beta of the BatchNormalization behind a filter become zero,
            too, so that its channel is exactly zero and can be taken out. Default True.

    Returns:
        For each layer named the number of filters that went.

    Raises:
        ValueError: A layer that is not there (the nearest is named), a ratio outside [0, 1), or an
            unknown norm; the model is as it was.

    >>> import keras, tfshed
    >>> from tfshed.experiments.structured import prune_filters
    >>> conv = keras.layers.Conv2D(10, 3, name="conv")
    >>> net = keras.Sequential([keras.Input((8, 8, 3)), conv, keras.layers.Flatten()])
    >>> prune_filters(net, {"conv": 0.35})
    {'conv': 4}

    Source: Li et al. 2017, "Pruning Filters for Efficient ConvNets" (arXiv 1608.08710).
    """
    filters = filters_of(model)
    if norm not in NORMS:
        raise ValueError(
            f"norm: expected one of {', '.join(NORMS)}, received {norm!r}.{near_miss(norm, NORMS)}"
        )
    for name, ratio in ratios.items():
        if name not in filters:
            raise ValueError(
                f"ratios: expected names of Conv2D layers of {model.name}, received {name!r}."
                f"{near_miss(name, filters)}"
            )
        if not 0 <= ratio < 1:
            raise ValueError(f"ratios[{name!r}]: expected a number in [0, 1), received {ratio!r}")
    rng = np.random.default_rng(seed)
    gone = {}
    for name, ratio in ratios.items():
        found = filters[name]
        # A hair more: 10 * (1 - 0.3) is 6.999999999999999.
        stay = max(1, int(found.count * (1 - ratio) + 1e-9))
        magnitudes = found.magnitudes()
        if norm == "random":
            scores = rng.permutation(found.count).astype("float64")
        else:
            scores = magnitudes.sum(0) if norm == "l1" else np.square(magnitudes).sum(0)
        lowest = np.argsort(scores, kind="stable")[: found.count - stay]
        removed = np.zeros(found.count, bool)
        removed[lowest] = True
        found.remove(removed, normalization)
        gone[name] = len(lowest)
    return gone
