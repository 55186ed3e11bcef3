"""The base of learning rates that are constant between milestones."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfshed.core.arguments import check_number, check_whole

# The learning rates in section 3.1 of Azarian & Porikli 2021.
RATES = (1e-2, 1e-3, 1e-4)


class Pieces(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that is `values[i]` from milestone i - 1 to milestone i, rounded to steps."""

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
        """Returns the value at `step`, an int32 tensor."""
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
