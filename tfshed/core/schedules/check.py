"""Checks a schedule before training, at some of the steps that a run with it will reach."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops

# The number of updates between the first and the last one that are checked.
BETWEEN = 8
# If a schedule does not end, the updates with these numbers are checked.
WITHOUT_END = (1, 2, 10, 100)


def check_schedule(schedule: Any) -> None:
    """Raises ValueError for a schedule that fails, or returns a sparsity outside of [0, 1).

    The schedule is called at step 0, at its `begin_step` and `end_step`, and at eight of the
    updates between them. If it does not end, it is called at step 0, at `begin_step`, and at the
    updates 1, 2, 10 and 100 after it. The sparsity is checked at step 0, and at the other steps if
    an update is due there.

    Args:
        schedule: A callable step -> (should_prune, sparsity).

    >>> import tfshed
    >>> check_schedule(tfshed.PolynomialDecay(0.2, 0.9, begin_step=100, end_step=2000))
    """
    for step in _steps(schedule):
        try:
            due, sparsity = schedule(step)
            due, sparsity = bool(_number(due)), _number(sparsity)
        except Exception as error:
            raise ValueError(
                "pruning_schedule: expected schedule(step) -> (should_prune, sparsity), received "
                f"{schedule!r}, which fails at step {step}: {error}"
            ) from error
        if (due or step == 0) and not 0.0 <= sparsity < 1.0:
            raise ValueError(
                f"pruning_schedule: expected a sparsity in [0, 1), received {sparsity} at step "
                f"{step} of {schedule!r}"
            )


def _number(value: Any) -> float:
    return float(np.asarray(ops.convert_to_numpy(value)))


def _steps(schedule: Any) -> list[int]:
    begin = _attribute(schedule, "begin_step", 0)
    end = _attribute(schedule, "end_step", -1)
    every = max(1, _attribute(schedule, "frequency", 1))
    if end < begin:
        found = [0, begin, *(begin + every * n for n in WITHOUT_END)]
    else:
        updates = (end - begin) // every
        found = [begin + every * (updates * n // (BETWEEN + 1)) for n in range(1, BETWEEN + 1)]
        found = [0, begin, *found, end]
    return sorted(set(found))


def _attribute(schedule: Any, name: str, otherwise: int) -> int:
    """The attribute of a schedule if it is a whole number, and `otherwise` if it is not."""
    value = getattr(schedule, name, None)
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        return otherwise
    return int(value) if math.isfinite(value) and value == int(value) else otherwise
