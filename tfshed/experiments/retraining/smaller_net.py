"""Retraining after filters were pruned: the net without them, as papers train it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfshed.core.arguments import check_number
from tfshed.experiments.structured.filters import filters_of
from tfshed.experiments.structured.presets import preset
from tfshed.experiments.structured.prune_filters import prune_filters
from tfshed.experiments.structured.slimming import prune_by_scale
from tfshed.export.shrink.shrink_model import shrink

Gone = Mapping[str, np.ndarray]


def removed_filters(model: Any, phase: Any, seed: int) -> Gone:
    """Zeroes the filters that a recipe's phase `retrain` prunes, and says which they are.

    Args:
        model: The trained net. It is changed.
        phase: The phase, whose field `filters` is not "".
        seed: Of random filters.

    Returns:
        For each layer from which filters went, a bool array that is True for these.

    Raises:
        ValueError: A preset of another network, or of another shortcut.
    """
    check_number("config.retrain.sparsity", phase.sparsity)
    if phase.filters == "scale":
        prune_by_scale(model, phase.sparsity)
    else:
        prune_filters(model, _ratios(model, phase), norm=phase.filters, seed=seed)
    gone = {}
    for name, found in filters_of(model).items():
        which = found.magnitudes().max(axis=0) == 0
        if which.any():
            gone[name] = which
    return gone


def _ratios(model: Any, phase: Any) -> dict[str, float]:
    filters = filters_of(model)
    if not phase.preset:
        return dict.fromkeys(filters, phase.sparsity)
    found = preset(phase.preset)
    missing = [name for name in found.ratios if name not in filters]
    if missing or model.name != found.network:
        raise ValueError(
            f"config.retrain.preset: expected one of the network {model.name}, received "
            f"{phase.preset!r}, which is of {found.network}"
        )
    return dict(found.ratios)


def smaller(model: Any, gone: Gone) -> Any:
    """The net without these filters, with the weights that the model has now; it is changed."""
    found = filters_of(model)
    for name, which in gone.items():
        found[name].remove(which)
    return shrink(model, verify=False).model


def copy_of(model: Any) -> Any:
    """A new model of the same layers and weights."""
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    return clone
