"""Pruning schedules: when to prune, and the target sparsity at each step.

A schedule is called like those of tfmot, `should_prune, sparsity = schedule(step)`. It also has
`keep_ratio(step)`, which is 1 - sparsity. Three conventions hold for all schedules:

* `step` is the number of optimizer steps so far, the current one included. 0 is before training.
* An update is due at `begin_step + k * frequency` up to `end_step`, and always at `end_step`, so
  that the last update reaches the final sparsity whatever the frequency. Before `begin_step`, no
  update is due and the sparsity is the initial one. After `end_step`, no update is due and the
  sparsity does not change.
* `step` may be a Python or NumPy number, for which the result is a Python bool and float; a NumPy
  array; or a TensorFlow, JAX or PyTorch tensor, also within a compiled step, for which the result
  are bool and float32 tensors of the same shape, whichever backend Keras uses.
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
    """Returns the schedule described by a name with arguments, or the object itself.

    Args:
        schedule: A dict with a registered name and the constructor's arguments, such as
            {"name": "constant", "target_sparsity": 0.8, "begin_step": 100}, or only a name for a
            schedule that needs no arguments. Anything else is returned unchanged.

    Raises:
        ValueError: The name is unknown, or the schedule does not take these arguments.

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
