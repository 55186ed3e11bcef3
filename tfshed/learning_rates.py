"""Learning rates of the papers: constant pieces, once or in cycles, on epochs counted in steps.

Keras schedules: give one to an optimizer as its `learning_rate`. For a cosine, with or without
warm-up, take `keras.optimizers.schedules.CosineDecay`.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfshed.core.arguments import check_number, check_whole

__all__ = ["CyclicStep", "MultiStep", "cyclic", "three_step"]

# Section 3.1 of Azarian & Porikli 2021.
RATES = (1e-2, 1e-3, 1e-4)

_register = keras.saving.register_keras_serializable(package="tfshed")


class _Pieces(keras.optimizers.schedules.LearningRateSchedule):
    """values[i] from milestone i - 1 to milestone i; the boundaries are whole steps."""

    def _set(self, values: Any, milestones: Any, steps_per_epoch: Any) -> None:
        self.steps_per_epoch = check_whole("steps_per_epoch", steps_per_epoch, 1)
        self.values = _positive("values", values)
        self.milestones = _positive("milestones", milestones)
        if len(self.values) != len(self.milestones) + 1:
            raise ValueError(
                "expected one value more than milestones (the first holds from the start), "
                f"received {len(self.values)} values and {len(self.milestones)} milestones"
            )
        self._boundaries = [self._steps(milestone) for milestone in self.milestones]
        if any(b <= a for a, b in zip([0, *self._boundaries], self._boundaries)):
            raise ValueError(
                "expected milestones to grow, from one to the next by a step at least, received "
                f"{milestones!r}: with {self.steps_per_epoch} steps an epoch they are the steps "
                f"{self._boundaries}"
            )

    def _steps(self, epochs: float) -> int:
        return round(epochs * self.steps_per_epoch)

    def _piece(self, step: Any) -> Any:
        """The value at `step`, an int32 tensor."""
        rate = ops.convert_to_tensor(self.values[0], "float32")
        for boundary, value in zip(self._boundaries, self.values[1:]):
            rate = ops.where(step >= boundary, ops.convert_to_tensor(value, "float32"), rate)
        return rate

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, all of them JSON values."""
        config = {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in config.items()}

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({inside})"


def _positive(name: str, numbers: Any) -> tuple[float, ...]:
    if not isinstance(numbers, Sequence) or isinstance(numbers, str):
        raise ValueError(f"expected {name} to be a list of numbers, received {numbers!r}")
    return tuple(check_number(f"{name}[{i}]", x, positive=True) for i, x in enumerate(numbers))


@_register
class MultiStep(_Pieces):
    """A rate that changes at milestones, after an optional linear warm-up.

    With t = step / steps_per_epoch, the rate is `values[i]`, where i counts the milestones <= t;
    during the first W = round(warmup_epochs * steps_per_epoch) steps it is multiplied by
    (step + 1) / W.

    Args:
        values: rates, > 0, one more than milestones.
        milestones: epochs at which the next value begins, > 0 and growing, fractions allowed. The
            boundary is at step round(milestone * steps_per_epoch), compared as whole numbers.
        steps_per_epoch: optimizer updates in an epoch, >= 1.
        warmup_epochs: length of the warm-up (Goyal et al. 2017, section 2.2), >= 0; default 0. Its
            first step has the rate values[0] / W, its last one values[0].

    Raises:
        ValueError: if an argument is out of its range.

    >>> rate = MultiStep((0.1, 0.01, 0.001), (91, 136), steps_per_epoch=391)
    >>> [round(float(rate(step)), 6) for step in (0, 91 * 391 - 1, 91 * 391, 136 * 391)]
    [0.1, 0.1, 0.01, 0.001]
    >>> rate = MultiStep((0.1, 0.01), (2,), steps_per_epoch=4, warmup_epochs=0.5)
    >>> [round(float(rate(step)), 6) for step in (0, 1, 2, 7, 8)]
    [0.05, 0.1, 0.1, 0.1, 0.01]
    """

    def __init__(
        self,
        values: Sequence[float],
        milestones: Sequence[float],
        steps_per_epoch: int,
        warmup_epochs: float = 0.0,
    ) -> None:
        super().__init__()
        self._set(values, milestones, steps_per_epoch)
        self.warmup_epochs = check_number("warmup_epochs", warmup_epochs)
        if self.warmup_epochs < 0:
            raise ValueError(f"expected warmup_epochs to be >= 0, received {warmup_epochs!r}")
        self._warmup = self._steps(self.warmup_epochs)

    def __call__(self, step: Any) -> Any:
        """Returns the rate of the update that follows `step` others, a float32 scalar."""
        # Whole numbers whatever the type of the step: a float epoch would miss its boundary.
        step = ops.cast(step, "int32")
        rate = self._piece(step)
        if self._warmup:
            done = ops.cast(ops.minimum(step + 1, self._warmup), "float32")
            rate = rate * (done / self._warmup)
        return rate


@_register
class CyclicStep(_Pieces):
    """A rate that goes through its values in every cycle of epochs.

    With t = step / steps_per_epoch, the rate is `values[i]`, where i counts the milestones <=
    t mod cycle.

    Args:
        values: rates, > 0, one more than milestones.
        milestones: epochs of a cycle at which the next value begins, > 0, growing and < cycle,
            fractions allowed.
        cycle: epochs of a cycle, fractions allowed. Boundaries and cycle are rounded to steps.
        steps_per_epoch: optimizer updates in an epoch, >= 1.

    Raises:
        ValueError: if an argument is out of its range.

    >>> rate = CyclicStep((0.1, 0.01), (1,), cycle=3, steps_per_epoch=10)
    >>> [round(float(rate(10 * epoch)), 6) for epoch in range(7)]
    [0.1, 0.01, 0.01, 0.1, 0.01, 0.01, 0.1]
    """

    def __init__(
        self,
        values: Sequence[float],
        milestones: Sequence[float],
        cycle: float,
        steps_per_epoch: int,
    ) -> None:
        super().__init__()
        self._set(values, milestones, steps_per_epoch)
        self.cycle = check_number("cycle", cycle, positive=True)
        self._cycle = self._steps(self.cycle)
        if self._cycle <= max([0, *self._boundaries]):
            raise ValueError(
                "expected cycle to be longer than the last milestone, by a step at least, received "
                f"cycle={cycle!r} and milestones={milestones!r}"
            )

    def __call__(self, step: Any) -> Any:
        """Returns the rate of the update that follows `step` others, a float32 scalar."""
        return self._piece(ops.mod(ops.cast(step, "int32"), self._cycle))


def three_step(steps_per_epoch: int) -> MultiStep:
    """The paper's 3-step schedule: 1e-2, from epoch 11 on 1e-3, from epoch 23 on 1e-4.

    Azarian & Porikli 2021 (arXiv 2103.10629), eq. 1; made for 35 epochs.

    >>> rate = three_step(steps_per_epoch=10009)
    >>> [round(float(rate(10009 * epoch)), 6) for epoch in (0, 10, 11, 22, 23, 34)]
    [0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001]
    """
    return MultiStep(RATES, (11, 23), steps_per_epoch)


def cyclic(steps_per_epoch: int) -> CyclicStep:
    """The paper's cyclic schedule: in every 7 epochs 3 of 1e-2, 2 of 1e-3 and 2 of 1e-4.

    Azarian & Porikli 2021 (arXiv 2103.10629), eq. 2; made for 5 cycles.

    >>> rate = cyclic(steps_per_epoch=10009)
    >>> [round(float(rate(10009 * epoch)), 6) for epoch in range(2, 9)]
    [0.01, 0.001, 0.001, 0.0001, 0.0001, 0.01, 0.01]
    """
    return CyclicStep(RATES, (3, 5), 7, steps_per_epoch)
