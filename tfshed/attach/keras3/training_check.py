"""Refuses to train a wrapped layer that no optimizer prunes, or whose pruned weights came back."""

from __future__ import annotations

from typing import Any

from tfshed.attach.agreement import disagreement
from tfshed.attach.keras3.private import layers_in, trains_by_default
from tfshed.attach.kernels import Kernel
from tfshed.attach.ownership import expected_in, optimizers_in, owner_of


def is_trained(context: Any, training: Any) -> bool:
    """Whether a call of a layer is one of training.

    Args:
        context: the context of the outermost call under way; None if there is none.
        training: the argument of the call; None if it was not given.
    """
    # Functional models pass the argument on to all their layers, whether these take it or not.
    if training is not None or context is None:
        return training is True
    if context.get_value("training") is not True:
        return False
    # Keras' preprocessing layers have training=True as default, and leave it in the context for
    # the layers after them although nobody trains.
    return not any(trains_by_default(layer) for layer in layers_in(context.entry_layer))


def check_owned(wrapper: Any, kernels: list[Kernel]) -> None:
    """Raises RuntimeError unless each of the kernels of a wrapper has an optimizer that prunes it.

    Args:
        wrapper: the layer that declares the kernels.
        kernels: those that are trained.
    """
    owners = [owner_of(k.variable) for k in kernels]
    if any(owner is None or not owner.in_use for owner in owners) and not _is_expected(wrapper):
        raise RuntimeError(
            f"{wrapper.name} is trained, but no optimizer prunes it. Add "
            "tfshed.UpdatePruningStep() to the callbacks of fit(), or in a custom loop use "
            "tfshed.PruningOptimizer(optimizer, model), built before the first step."
        )


def _is_expected(wrapper: Any) -> bool:
    """Whether an optimizer that is built in its first step is to prune this layer."""
    model = expected_in(wrapper)
    return model is not None and any(
        getattr(each, "waits_for_kernels", False) for each in optimizers_in(model)
    )


def check_zeros(wrapper: Any, kernels: list[Kernel], calls: int) -> None:
    """Raises RuntimeError if pruned weights are not zero; looks at few of the calls.

    In a custom training loop nothing else can see that another optimizer stepped the kernels. The
    weights have to be read for it, so only the 2nd, 4th, 8th, ... call is looked at.

    Args:
        wrapper: the layer that declares the kernels.
        kernels: those that are trained.
        calls: how many training calls of the wrapper there were, this one included.
    """
    # A power of two has no bit in common with the number before it.
    if calls < 2 or calls & (calls - 1):
        return
    found = disagreement(kernels)
    if found is not None:
        raise RuntimeError(
            f"{wrapper.name}: {found}. Another optimizer than the one that prunes has stepped "
            "them, or weights were set: expected steps of the tfshed.PruningOptimizer. Make a "
            "new one, tfshed.PruningOptimizer(optimizer, model), to go on from these weights."
        )
