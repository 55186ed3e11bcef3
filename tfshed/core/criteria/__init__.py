"""Which elements go first: a criterion gives each a score, and at an update the lowest go.

`Magnitude` and `Random` look at the weights alone, `Taylor` and `Movement` at gradients. One of
one's own is a subclass of `Criterion` with a method `scores(context)`, in a few lines; registered
under a name it can be chosen wherever these can.
"""

from __future__ import annotations

import inspect
from typing import Any

from tfshed.core.criteria.base import CRITERIA, NEEDS, Criterion, register
from tfshed.core.criteria.context import Context
from tfshed.core.criteria.magnitude import Magnitude
from tfshed.core.criteria.movement import Movement
from tfshed.core.criteria.random import Random
from tfshed.core.criteria.taylor import Taylor

__all__ = [
    "CRITERIA",
    "NEEDS",
    "Context",
    "Criterion",
    "Magnitude",
    "Movement",
    "Random",
    "Taylor",
    "get",
    "register",
]


def get(criterion: str | dict[str, Any] | Criterion, seed: int = 0) -> Criterion:
    """Returns the criterion that is meant by a name, a name with arguments, or an object.

    Args:
        criterion: A registered name, such as "taylor"; a dict with it and the constructor's
            arguments, such as {"name": "taylor", "steps": 50}; or a `Criterion`.
        seed: For a criterion that takes a seed and is not given one.

    Raises:
        ValueError: It is nothing of this, or the name is unknown.
        TypeError: The criterion takes no such argument.

    >>> from tfshed import criteria
    >>> criteria.get({"name": "taylor", "steps": 50})
    Taylor(steps=50)
    >>> criteria.get("tailor")
    Traceback (most recent call last):
    ...
    ValueError: criterion: expected one of 'magnitude', ..., received 'tailor'. Did you mean ...
    """
    if isinstance(criterion, Criterion):
        return criterion
    if not isinstance(criterion, (str, dict)):
        raise ValueError(
            f"criterion: expected one of {', '.join(map(repr, CRITERIA))} or a "
            f"tfshed.criteria.Criterion, received {criterion!r}"
        )
    options: dict[str, Any] = {"name": criterion} if isinstance(criterion, str) else dict(criterion)
    kind: Any = CRITERIA.get(options.pop("name", None))
    if "seed" in inspect.signature(kind).parameters:
        options.setdefault("seed", seed)
    made: Criterion = kind(**options)
    return made
