"""When an update happens and how far it prunes: the rules that all who ask a schedule share."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

# Rounding of a sparsity near 0 stays within this.
ROUNDING = 1e-6


def ask(schedule: Any, step: int) -> tuple[bool, float]:
    """Returns `schedule(step)` as Python numbers, whatever it returns."""
    # tfmot's schedules compute with tensors: on an accelerator that would wait for its queue.
    with keras.device("cpu:0"):
        due, sparsity = schedule(step)
        return bool(due), float(sparsity)


def sparsity_at_start(schedule: Any) -> float | None:
    """Returns the sparsity of an update due at step 0, before training; None without one.

    No optimizer step has the number 0: that update is done in the first step (`with_start`).

    >>> from tfshed import ConstantSparsity
    >>> sparsity_at_start(ConstantSparsity(0.5, begin_step=0))
    0.5
    """
    due, sparsity = ask(schedule, 0)
    return sparsity if due else None


def with_start(at_start: float | None, step: Any, due: Any, sparsity: Any) -> tuple[Any, Any]:
    """Returns what is to be done at `step`: the schedule's word, or in step 1 that of step 0.

    Args:
        at_start: What `sparsity_at_start` says.
        step: The number of the optimizer step, from 1 on: a Python int, or an int32 scalar tensor
            inside a step.
        due, sparsity: `schedule(step)`, as Python numbers or as tensors.

    >>> (
    ...     with_start(0.5, 1, False, 0.0),
    ...     with_start(0.5, 1, True, 0.6),
    ...     with_start(0.5, 2, False, 0.0),
    ... )
    ((True, 0.5), (True, 0.6), (False, 0.0))
    """
    if at_start is None:
        return due, sparsity
    if isinstance(step, int):
        return (True, at_start) if step == 1 and not due else (due, sparsity)
    first = ops.logical_and(step == 1, ops.logical_not(due))
    return ops.logical_or(due, first), ops.where(first, at_start, sparsity)


def update_at(schedule: Any, step: int) -> float | None:
    """Returns the sparsity to which an update in optimizer step `step` prunes; None without one.

    >>> from tfshed import OneShot
    >>> update_at(OneShot(0.8, step=0), 1), update_at(OneShot(0.8, step=0), 2)
    (0.8, None)
    """
    at_start = sparsity_at_start(schedule) if step == 1 else None
    due, sparsity = with_start(at_start, step, *ask(schedule, step))
    return sparsity if due else None


def usable_sparsity(value: Any) -> tuple[Any, Any]:
    """Whether a schedule's value can be used, and the value as a sparsity in [0, 1).

    A compiled step may round 0 to a number just below it: XLA fuses a product and a sum. Such a
    value is 0. NaN, infinity, and what lies further outside cannot be used.

    Args:
        value: float32 scalar tensor.

    Returns:
        A bool scalar and a float32 scalar.

    >>> import numpy as np
    >>> [bool(usable_sparsity(np.float32(x))[0]) for x in (-6e-8, 0.5, 1.0, -0.1, np.nan)]
    [True, True, False, False, False]
    """
    # Every comparison with NaN is false.
    usable = ops.logical_and(value >= -ROUNDING, value < 1.0)
    return usable, ops.maximum(value, 0.0)
