"""Decides when an update happens and to which sparsity; all code that calls schedules uses this."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

# A sparsity this little below 0 is taken for a rounded 0.
ROUNDING = 1e-6


def ask(schedule: Any, step: int) -> tuple[bool, float]:
    """Returns `schedule(step)` as Python numbers, whatever it returns."""
    # tfmot's schedules compute with tensors. On an accelerator, reading the result would wait for
    # everything in its queue.
    with keras.device("cpu:0"):
        due, sparsity = schedule(step)
        return bool(due), float(sparsity)


def sparsity_at_start(schedule: Any) -> float | None:
    """Returns the sparsity of an update that is due at step 0, before training; None if none is.

    No optimizer step has the number 0, so this update is done in the first step (see `with_start`).

    >>> from tfshed import ConstantSparsity
    >>> sparsity_at_start(ConstantSparsity(0.5, begin_step=0))
    0.5
    """
    due, sparsity = ask(schedule, 0)
    return sparsity if due else None


def with_start(at_start: float | None, step: Any, due: Any, sparsity: Any) -> tuple[Any, Any]:
    """Returns (due, sparsity) for an optimizer step, with the update of step 0 done in step 1.

    If an update is due in step 1 itself, that one is done and the one of step 0 is dropped.

    Args:
        at_start: What `sparsity_at_start` returned.
        step: The number of the optimizer step, which starts at 1: a Python int, or an int32 scalar
            tensor inside a compiled step.
        due, sparsity: What `schedule(step)` returned, as Python numbers or as tensors.

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
    """Returns the sparsity of the update in optimizer step `step`; None if there is no update.

    >>> from tfshed import OneShot
    >>> update_at(OneShot(0.8, step=0), 1), update_at(OneShot(0.8, step=0), 2)
    (0.8, None)
    """
    at_start = sparsity_at_start(schedule) if step == 1 else None
    due, sparsity = with_start(at_start, step, *ask(schedule, step))
    return sparsity if due else None


def usable_sparsity(value: Any) -> tuple[Any, Any]:
    """Returns whether a schedule's value can be used, and the value as a sparsity in [0, 1).

    In a compiled step, XLA fuses products and sums, and a 0 may be rounded to a number just below
    it. Such a number counts as 0. NaN, infinity and numbers further outside cannot be used.

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
