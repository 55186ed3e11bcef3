"""Criteria: a criterion gives each element a score, and an update prunes the lowest scores.

`Magnitude` and `Random` do not look at gradients, `Taylor` and `Movement` do. A criterion of your
own is a subclass of `Criterion` with a method `scores(context)`, a few lines long. If it is
registered under a name, it can be chosen by that name wherever these can.
"""

from __future__ import annotations

import inspect
from typing import Any

from tfshed.core.arguments import check_int
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
    """Returns the criterion described by a name, a name with arguments, or an object.

    Args:
        criterion: A registered name such as "taylor", a dict with the name and the constructor's
            arguments such as {"name": "taylor", "steps": 50}, or a `Criterion`.
        seed: The seed of a criterion that takes one and was not given one. Default 0.

    Raises:
        ValueError: `criterion` is none of these, the name is unknown, or `seed` is not a whole
            number.
        TypeError: The criterion does not take one of the arguments.

    >>> from tfshed import criteria
    >>> criteria.get({"name": "taylor", "steps": 50})
    Taylor(steps=50)
    >>> criteria.get("tailor")
    Traceback (most recent call last):
    ...
    ValueError: criterion: expected one of 'magnitude', ..., received 'tailor'. Did you mean ...
    """
    check_int("seed", seed)
    if isinstance(criterion, Criterion):
        return criterion
    if not isinstance(criterion, (str, dict)):
        raise ValueError(
            f"criterion: expected one of {', '.join(map(repr, CRITERIA))} or a "
            f"tfshed.criteria.Criterion, received {criterion!r}"
        )
    options: dict[str, Any] = {"name": criterion} if isinstance(criterion, str) else dict(criterion)
    name = options.pop("name", None)
    kind: Any = CRITERIA.get(name)
    takes = list(inspect.signature(kind).parameters)
    unknown = [option for option in options if option not in takes]
    if unknown:
        raise TypeError(f"criterion: expected arguments of {name!r}, {takes}, received {unknown}")
    if "seed" in takes:
        options.setdefault("seed", seed)
    made: Criterion = kind(**options)
    return made
