"""What is wrapped in a tf_keras model: the wrappers, their kernels in groups, what is left out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from tfshed.attach.kernels import candidates
from tfshed.attach.tf_keras.group import WrapperGroup
from tfshed.attach.tf_keras.private import layers_in
from tfshed.attach.tf_keras.state import Member
from tfshed.attach.tf_keras.wrapper import PruneLowMagnitude
from tfshed.core.config import PruningConfig


def wrappers_of(model: Any) -> list[PruneLowMagnitude]:
    """The wrappers in a tf_keras model, nested ones too, each once."""
    found: dict[int, PruneLowMagnitude] = {}
    for layer in layers_in(model):
        if isinstance(layer, PruneLowMagnitude):
            found.setdefault(id(layer), layer)
    return list(found.values())


def groups_of(wrappers: Sequence[PruneLowMagnitude]) -> list[WrapperGroup]:
    """The kernels that are trained, one group for each configuration, without frozen layers."""
    left = {id(v) for wrapper in wrappers for v in wrapper.trainable_weights}
    by_key: dict[str, list[Member]] = {}
    for wrapper in wrappers:
        members = by_key.setdefault(wrapper.config.key(), [])
        for kernel, state in zip(wrapper.chosen_kernels(), wrapper.state):
            if id(kernel.variable) in left:
                left.remove(id(kernel.variable))
                members.append(Member(kernel, state, wrapper))
    return [WrapperGroup(members) for members in by_key.values() if members]


def reasons_to_skip(layer: Any, config: PruningConfig) -> list[tuple[str, str]]:
    """The kernels of a layer that do not fit a granularity: their paths and the reasons."""
    found = []
    for kernel in (c.kernel for c in candidates(layer) if c.named_as_kernel):
        reason = config.granularity.reason_to_skip(tuple(kernel.variable.shape), kernel.axes)
        if reason:
            found.append((kernel.path, reason))
    return found


def warn_of_unpruned(wrappers: Sequence[PruneLowMagnitude], some_pruned: bool) -> None:
    """Warns of wrapped layers that are not pruned, and says why.

    Raises:
        ValueError: nothing is pruned, and not because layers are frozen.
    """
    frozen, reasons = [], []
    for wrapper in wrappers:
        kernels = wrapper.chosen_kernels()
        trained = {id(v) for v in wrapper.trainable_weights}
        if kernels and not any(id(kernel.variable) in trained for kernel in kernels):
            frozen.append(wrapper.name)
        elif not kernels:
            reasons += reasons_to_skip(wrapper.layer, wrapper.config)
    told = "; ".join(f"{path}: {reason}" for path, reason in reasons)
    if reasons and not some_pruned and not frozen:
        raise ValueError(f"expected a kernel to prune in the wrapped layers, found none: {told}")
    if reasons:
        warnings.warn(f"kernels of wrapped layers are not pruned: {told}", stacklevel=2)
    if frozen and not some_pruned:
        warnings.warn(
            f"nothing is pruned: the wrapped layers {frozen} are not trainable. Make them "
            "trainable, compile the model, and they are pruned from the next fit on.",
            stacklevel=2,
        )
