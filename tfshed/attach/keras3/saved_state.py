"""The state of a `PruningOptimizer` as arrays: what files hold, also those of earlier versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfshed.attach.group import PruningGroup


def variables_in_file(
    variables: Sequence[Any], groups: Sequence[PruningGroup], arrays: int
) -> list[Any]:
    """Which of the variables a file with so many arrays holds.

    Args:
        variables: all variables of the optimizer that files hold now, in their order.
        groups: its groups.
        arrays: how many arrays the file has.
    """
    if arrays == len(variables):
        return list(variables)
    # The first version wrote files before groups counted events.
    later = {id(group.events) for group in groups}
    return [v for v in variables if id(v) not in later]


def assign_all(variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    """Sets variables to arrays.

    Raises:
        ValueError: other numbers or shapes than those of the variables; nothing has been set then.
    """
    found, wanted = [value.shape for value in values], [tuple(v.shape) for v in variables]
    if found != wanted:
        raise ValueError(f"optimizer state: expected shapes {wanted}, received {found}")
    for variable, value in zip(variables, values):
        variable.assign(value)
