"""Weights and masks as arrays, in the order of a model's weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfshed.attach.kernels import Candidate, candidates
from tfshed.core.backend import to_numpy

Masks = list[np.ndarray | None]


def kernels_by_place(model: Any) -> dict[int, Candidate]:
    """The kernels that are pruned by default, by their place among the weights of the model."""
    places = {id(variable): i for i, variable in enumerate(model.weights)}
    found = [c for c in candidates(model) if c.named_as_kernel and not c.is_state]
    return {places[id(c.kernel.variable)]: c for c in found if id(c.kernel.variable) in places}


def masks_of(model: Any) -> Masks:
    """What is zero in the kernels of a model.

    Returns:
        A bool array for each kernel with zeros, True where the weight is kept; None for all other
        weights of the model.
    """
    kernels = kernels_by_place(model)
    found: Masks = []
    for i, variable in enumerate(model.weights):
        kept = to_numpy(variable) != 0 if i in kernels else None
        found.append(None if kept is None or kept.all() else kept)
    return found


def masked(weights: Sequence[np.ndarray], masks: Masks) -> list[np.ndarray]:
    """The weights where the masks keep them, and zero elsewhere.

    Args:
        weights: arrays in the order of a model's weights.
        masks: as from `masks_of`.

    Raises:
        ValueError: another number of arrays, or a mask of another shape than its weights.

    >>> masked([np.array([1.0, -2.0]), np.ones(2)], [np.array([True, False]), None])
    [array([1., 0.]), array([1., 1.])]
    """
    if len(weights) != len(masks):
        raise ValueError(
            f"masks: expected one for each of {len(weights)} weights, received {len(masks)}: they "
            "are of another net"
        )
    for i, (weight, mask) in enumerate(zip(weights, masks)):
        if mask is not None and mask.shape != np.shape(weight):
            raise ValueError(
                f"masks[{i}]: expected the shape {np.shape(weight)} of the weights, received "
                f"{mask.shape}: they are of another net"
            )
    # Chosen, not multiplied: a product has -0.0, and NaN where a weight is not finite.
    return [
        np.array(w) if m is None else np.where(m, w, np.zeros((), np.asarray(w).dtype))
        for w, m in zip(weights, masks)
    ]


def keep_ratio(masks: Masks, sizes: Sequence[int]) -> float:
    """The fraction of weights that masks keep.

    Args:
        masks: as from `masks_of`.
        sizes: the number of weights of each kernel, by place; 0 for weights that are no kernels.
    """
    gone = sum(int((~m).sum()) for m in masks if m is not None)
    return 1.0 - gone / max(1, sum(sizes))
