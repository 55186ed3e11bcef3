"""Weights drawn anew."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfshed.attach.keras3.private import is_functional
from tfshed.experiments.retraining.masks import Masks, kernels_by_place

# Added to the seed of a run: the net before training was drawn with the seed itself.
OTHER_SEED = 1_000_003


def fresh_weights(model: Any, seed: int) -> list[np.ndarray]:
    """The weights that a model of the same layers starts with when it is drawn with this seed.

    Initialisers with a seed of their own get another, so that weights are new in any case.

    Args:
        model: a built functional or Sequential model.
        seed: int >= 0.

    Raises:
        ValueError: the model is a subclassed one, which cannot be built anew.

    >>> net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    >>> a, b, c = (fresh_weights(net, seed)[0] for seed in (1, 1, 2))
    >>> bool((a == b).all()), bool((a == c).all())
    (True, False)
    """
    inner = isinstance(model, keras.Sequential) or is_functional(model)
    if not inner:
        raise ValueError(
            f"weights: expected fresh weights to be given for the subclassed model {model.name}, "
            "which cannot be built anew; give weights= as a list of arrays"
        )
    rng = np.random.default_rng(seed)

    def anew(layer: Any) -> Any:
        return type(layer).from_config(_with_seeds(layer.get_config(), rng))

    clone = keras.models.clone_model(model, clone_function=anew)
    return [np.array(w) for w in clone.get_weights()]


def _with_seeds(config: Any, rng: np.random.Generator) -> Any:
    """A configuration in which every field named "seed" is a new number."""
    if isinstance(config, dict):
        return {
            name: int(rng.integers(2**31 - 1)) if name == "seed" else _with_seeds(value, rng)
            for name, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return type(config)(_with_seeds(value, rng) for value in config)
    return config


def sparse_fresh_weights(
    model: Any, weights: Sequence[np.ndarray], masks: Masks, seed: int
) -> list[np.ndarray]:
    """Weights in which pruned kernels are drawn to fit what is left of them.

    A kernel with a mask is drawn from N(0, sigma^2) with sigma = sqrt(2 / (n / inputs)), where n is
    the number of weights that its mask keeps and `inputs` the number of its input channels. All
    others are as in `weights`. Liu et al. 2019 (arXiv 1810.05270), section 5.3 and their code.

    Args:
        model: with these weights.
        weights: arrays in the order of the model's weights.
        masks: as from `masks_of`.
        seed: int >= 0.
    """
    rng = np.random.default_rng(seed)
    found = [np.array(w) for w in weights]
    for i, candidate in kernels_by_place(model).items():
        mask = masks[i]
        if mask is None:
            continue
        axis = candidate.kernel.axes.input
        inputs = 1 if axis is None else mask.shape[axis]
        left = max(1, int(mask.sum()))
        drawn = rng.normal(0.0, math.sqrt(2 * inputs / left), mask.shape)
        found[i] = np.where(mask, drawn, 0.0).astype(found[i].dtype)
    return found
