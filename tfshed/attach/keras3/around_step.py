"""What a `PruningOptimizer` does around the step of the optimizer inside of it.

Before the step it collects what criteria look at, and may change gradients; after it, the moving
averages of the weights have to be zero where the weights are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keras import ops

from tfshed.attach.gradients import gradients_for_criterion
from tfshed.attach.group import PruningGroup
from tfshed.attach.keras3 import private
from tfshed.attach.keras3.slots import slots_of
from tfshed.attach.mixing import mixes_elements
from tfshed.core.backend import read

# By the key of a kernel's variable: the group that prunes it, and its number in that group.
Places = Mapping[Any, tuple[PruningGroup, int]]
KeyOf = Callable[[Any], Any]


def seen_by_criterion(
    group: PruningGroup,
    inner: Any,
    trained: Sequence[Any],
    given: Mapping[Any, Any],
    key_of: KeyOf,
) -> tuple[list[Any], list[dict[str, Any]] | None]:
    """What the criterion of a group needs of each kernel: gradients and the optimizer's slots.

    Args:
        group: the kernels.
        inner: the inner optimizer.
        trained: the variables that it was built with, in their order.
        given: the gradients of this step, by the key of their variable.
        key_of: the key of a variable.
    """
    slots, gradients = None, []
    if "slots" in group.needs:
        found = {key_of(v): slot for v, slot in zip(trained, slots_of(inner, trained))}
        slots = [found[key_of(k.variable)] for k in group.kernels]
    if "gradient" in group.needs:
        gradients = gradients_for_criterion(group.kernels, given, key_of)
    return gradients, slots


def gradients_for_inner(
    inner: Any,
    mask_gradients: bool | str,
    gradients: Sequence[Any],
    keys: Sequence[Any],
    places: Places,
    masks: Mapping[int, Sequence[Any]],
) -> list[Any]:
    """The gradients with which the inner optimizer steps.

    Args:
        inner: the inner optimizer.
        mask_gradients: whether pruned weights get gradients of zero; "auto": only where the inner
            optimizer mixes elements.
        gradients: those of this step; None in it where a variable has none.
        keys: the key of each of their variables.
        places: where each kernel is pruned.
        masks: the masks of this step, by the identity of their group, of the groups that were
            pruned before the step. The others count with the masks that they have.
    """
    masked = mixes_elements(inner) if mask_gradients == "auto" else bool(mask_gradients)
    result = list(gradients)
    for j, (grad, key) in enumerate(zip(gradients, keys)):
        group, i = places.get(key, (None, 0))
        # The gradient of an embedding is sparse in rows: adding to it would make it dense.
        if group is None or grad is None or type(grad).__name__ == "IndexedSlices":
            continue
        if masked or group.config.weight_decay is not None:
            mask = masks.get(id(group), group.masks)[i]
            result[j] = group.gradient(i, grad, mask, masked)
    return result


def prune_averages(inner: Any, places: Places, key_of: KeyOf) -> None:
    """Writes zeros into the moving averages of pruned weights, which become weights in the end."""
    for variable, average in private.moving_averages(inner):
        group, i = places.get(key_of(variable), (None, 0))
        if group is not None and not group.config.observe:
            value = read(average)
            average.assign(ops.where(group.mask_of(i), value, ops.zeros((), value.dtype)))
