"""Pruning schedules: when to prune, and how sparse the net is to be at that step.

A schedule is called as tfmot's are, `should_prune, sparsity = schedule(step)`, and has
`keep_ratio(step)`, which is 1 - sparsity. Three conventions hold for all of them:

* `step` counts the optimizer updates done, the current one included; 0 is before training.
* An update is due at `begin_step + k * frequency` up to `end_step`, and at `end_step` itself, so
  that the last one lands on the final sparsity whatever the frequency. Before `begin_step` nothing
  is due and the sparsity is the initial one; after `end_step` nothing is due and it stays.
* `step` may be a Python or NumPy number (gives a Python bool and float), a NumPy array, or a
  TensorFlow, JAX or PyTorch tensor, also while a step is compiled (gives bool and float32 tensors
  of the same shape), whichever backend Keras runs on.
"""

from __future__ import annotations

from typing import Any

from tfshed.core.schedules.base import SCHEDULES, PruningSchedule, register
from tfshed.core.schedules.exponential import CyclicExponentialDecay, ExponentialDecay
from tfshed.core.schedules.simple import (
    ConstantSparsity,
    Iterative,
    LinearDecay,
    OneShot,
    PolynomialDecay,
)

__all__ = [
    "SCHEDULES",
    "ConstantSparsity",
    "CyclicExponentialDecay",
    "ExponentialDecay",
    "Iterative",
    "LinearDecay",
    "OneShot",
    "PolynomialDecay",
    "PruningSchedule",
    "get",
    "register",
]


def get(schedule: Any) -> Any:
    """Returns the schedule that is meant by a name with arguments, or the object itself.

    Args:
        schedule: A dict with a registered name and the constructor's arguments, such as
            {"name": "constant", "target_sparsity": 0.8, "begin_step": 100}; a name alone for a
            schedule that needs no arguments; anything else is returned as it is.

    Raises:
        ValueError: The name is unknown, or the arguments are not the schedule's.

    >>> get({"name": "one_shot", "final_sparsity": 0.8, "step": 500})
    OneShot(final_sparsity=0.8, step=500)
    >>> get({"name": "exponental"})
    Traceback (most recent call last):
    ...
    ValueError: pruning_schedule: expected one of ... Did you mean 'exponential'?
    """
    if not isinstance(schedule, (str, dict)):
        return schedule
    options = {"name": schedule} if isinstance(schedule, str) else dict(schedule)
    name = options.pop("name", None)
    kind: Any = SCHEDULES.get(name)
    try:
        return kind(**options)
    except TypeError as error:
        raise ValueError(
            f"pruning_schedule: expected the arguments of {name!r}, received {options!r}: {error}"
        ) from None
