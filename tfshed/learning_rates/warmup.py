"""Adds a warm-up to any learning rate."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from tfshed.core.arguments import check_whole


@keras.saving.register_keras_serializable(package="tfshed")
class Warmup(keras.optimizers.schedules.LearningRateSchedule):
    """Another learning rate, multiplied by a factor that grows linearly during the first steps.

    The rate is schedule(step) * min(1, (step + 1) / steps). The schedule inside is not shifted, so
    its milestones and its end are where they would be without the warm-up.

    Args:
        schedule: A `LearningRateSchedule` of Keras or tfshed.
        steps: The number of optimizer steps that the warm-up lasts, >= 1. The first step has 1 /
            steps of the rate, the last one has the whole rate.

    Raises:
        ValueError: An argument is out of its range.

    >>> from tfshed.learning_rates import CyclicStep, Warmup
    >>> rate = Warmup(CyclicStep((0.1, 0.01), (2,), cycle=3, steps_per_epoch=2), steps=4)
    >>> [round(float(rate(step)), 6) for step in (0, 1, 3, 4, 6)]
    [0.025, 0.05, 0.1, 0.01, 0.1]

    Source: Goyal et al. 2017 (arXiv 1706.02677), section 2.2.
    """

    def __init__(self, schedule: LearningRateSchedule, steps: int):
        super().__init__()
        if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            raise ValueError(
                f"schedule: expected a LearningRateSchedule of Keras, received {schedule!r}"
            )
        self.schedule, self.steps = schedule, check_whole("steps", steps, 1)

    def __call__(self, step: Any) -> Any:
        """Returns the rate of the step that follows `step` others, a float32 scalar."""
        # Steps are added as integers, since float32 cannot distinguish step 2**24 from the next.
        done = ops.cast(ops.minimum(ops.cast(step, "int32") + 1, self.steps), "float32")
        return ops.cast(self.schedule(step), "float32") * (done / self.steps)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, all of them JSON values."""
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "steps": self.steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Warmup:
        return cls(keras.saving.deserialize_keras_object(config["schedule"]), config["steps"])

    def __repr__(self) -> str:
        return f"Warmup({self.schedule!r}, {self.steps})"
