"""What a tf_keras optimizer keeps for each variable: its slots, such as m and v of Adam."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def slots_of(optimizer: Any, variables: Sequence[Any]) -> list[dict[str, Any]]:
    """Returns an optimizer's variables that belong to each of `variables`, by name.

    tf_keras names a slot "m/dense/kernel:0" for "dense/kernel:0", with the optimizer's name before
    it or not; its legacy optimizers hold them by name.

    Args:
        optimizer: a tf_keras optimizer whose variables are made.
        variables: what it trains.
    """
    if hasattr(optimizer, "get_slot_names"):
        names = optimizer.get_slot_names()
        return [{name: optimizer.get_slot(v, name) for name in names} for v in variables]
    given = optimizer.variables
    found: list[dict[str, Any]] = []
    for variable in variables:
        mine: dict[str, Any] = {}
        for slot in given() if callable(given) else given:
            before, fits, after = slot.name.partition("/" + variable.name)
            if fits and not after and tuple(slot.shape) == tuple(variable.shape):
                mine.setdefault(before.rpartition("/")[2], slot)
        found.append(mine)
    return found
