"""The steps of `prune_low_magnitude` that are the same on both Keras."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from tfshed.attach.decisions import (
    Decision,
    check_countable,
    check_finite,
    check_unpruned,
)
from tfshed.attach.rules import Selection
from tfshed.attach.saved_kernels import saved_kernels
from tfshed.core.config import PruningConfig

logger = logging.getLogger("tfshed")


def layers_to_prune(
    to_prune: Any, check_layer: Callable[[Any], None], is_model: bool, kwargs: dict[str, Any]
) -> list[Any] | None:
    """The layers that are to be wrapped one by one; None for a model, which is declared as a whole.

    Args:
        to_prune: what the user gave: a model, a layer or a list of layers.
        check_layer: raises TypeError for anything but a layer or model of one Keras.
        is_model: whether `to_prune` is a model of that Keras.
        kwargs: further arguments, which only the wrapper of a single layer takes.

    Raises:
        TypeError: something else was given, or arguments that nothing takes.
        ValueError: the list is empty.
    """
    several = isinstance(to_prune, (list, tuple))
    if several and not to_prune:
        raise ValueError(f"to_prune: expected at least one layer, received {to_prune!r}")
    layers = list(to_prune) if several else [to_prune]
    for layer in layers:
        check_layer(layer)
    if kwargs and (several or is_model):
        raise TypeError(f"prune_low_magnitude got unknown arguments {sorted(kwargs)}")
    return None if is_model else layers


def checked(decisions: Sequence[Decision], config: PruningConfig, selection: Selection) -> set[int]:
    """The variables that are to be pruned, by identity, after all checks on wrapped layers.

    Args:
        decisions: what was decided about each kernel of the layers.
        config: how they are pruned.
        selection: the rules that decided.

    Raises:
        ValueError: a rule matches no kernel, a kernel holds NaN or infinity, or there are more
            weights than can be counted.
    """
    selection.check_used([d.candidate for d in decisions])
    check_finite(decisions)
    check_countable(decisions, config)
    check_unpruned(decisions, config)
    return {id(d.kernel.variable) for d in decisions if d.pruned}


def wrapped(
    layer: Any, config: PruningConfig, wanted: set[int], wrapper: type, **kwargs: Any
) -> Any:
    """The layer inside of a wrapper; the layer itself if none of the wanted variables is in it.

    Args:
        layer: a built layer that is not wrapped yet.
        config: how it is pruned.
        wanted: the variables that are to be pruned, by identity.
        wrapper: the class `PruneLowMagnitude` of the layer's Keras.
    """
    kernels = saved_kernels(layer, wanted)
    return wrapper(layer, config, kernels, **kwargs) if kernels else layer


def log_left_alone(decisions: Sequence[Decision]) -> None:
    """Writes into the log of "tfshed" which kernels of a model are not pruned, and why."""
    for d in decisions:
        if not d.pruned:
            logger.info("left alone: %s (%s): %s", d.path, d.layer, d.reason)
