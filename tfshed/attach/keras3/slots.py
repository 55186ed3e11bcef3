"""What an optimizer keeps for each variable: its slots, such as momentum and velocity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def slots_of(optimizer: Any, variables: Sequence[Any]) -> list[dict[str, Any]]:
    """Returns an optimizer's variables that belong to each of `variables`, by name.

    Keras names a slot after its variable's path, "dense_kernel_momentum" for "dense/kernel", and
    makes the slots of one name in the order of the variables.

    Args:
        optimizer: a built Keras optimizer.
        variables: what it was built with, all of it and in that order.

    >>> import keras
    >>> kernel = keras.Variable([[1.0, 2.0]], name="kernel")
    >>> optimizer = keras.optimizers.Adam()
    >>> optimizer.build([kernel])
    >>> [sorted(each) for each in slots_of(optimizer, [kernel])]
    [['momentum', 'velocity']]
    """
    paths = [str(v.path).replace("/", "_") + "_" for v in variables]
    found: list[dict[str, Any]] = [{} for _ in variables]
    for slot in optimizer.variables:
        # The longest path that fits: that of "a/b_kernel" begins like that of "a/b".
        fits = [p for p in paths if slot.name.startswith(p)]
        if not fits:
            continue
        path = max(fits, key=len)
        name = slot.name[len(path) :]
        for variable, other, mine in zip(variables, paths, found):
            if other == path and name not in mine and tuple(variable.shape) == tuple(slot.shape):
                mine[name] = slot
                break
    return found
