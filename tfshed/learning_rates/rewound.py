"""Rates for retraining that are made of the rate of training: its end, a part of it, its shape."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from tfshed.core.arguments import check_number, check_whole
from tfshed.core.backend import to_numpy
from tfshed.learning_rates.multi_step import MultiStep
from tfshed.learning_rates.registry import RateSettings, register


@keras.saving.register_keras_serializable(package="tfshed")
class Rewound(keras.optimizers.schedules.LearningRateSchedule):
    """Another rate, of which only a part is used, at its own speed or another.

    The rate at step s is schedule(begin + floor(s / stretch)).

    Args:
        schedule: a `LearningRateSchedule` of Keras or tfshed, the rate of training.
        begin: the step of training with which it begins, >= 0.
        stretch: how many times longer each part lasts than in training, in [0.001, 1000], taken as
            the nearest fraction with a denominator of at most 1000. Default 1.

    Raises:
        ValueError: an argument is out of its range.

    >>> from tfshed.learning_rates import MultiStep, Rewound
    >>> training = MultiStep((0.1, 0.01), (3,), steps_per_epoch=2)
    >>> [round(float(Rewound(training, begin=4)(step)), 2) for step in range(4)]
    [0.1, 0.1, 0.01, 0.01]
    >>> [round(float(Rewound(training, 0, stretch=1.5)(step)), 2) for step in (8, 9)]
    [0.1, 0.01]

    Source: Renda, Frankle & Carbin 2020 (arXiv 2003.02389), section 2, for learning rate rewinding;
    Liu et al. 2019 (arXiv 1810.05270), section 3, for the longer training of Scratch-B.
    """

    def __init__(self, schedule: LearningRateSchedule, begin: int, stretch: float = 1.0) -> None:
        super().__init__()
        if isinstance(schedule, dict):
            schedule = keras.saving.deserialize_keras_object(schedule)
        if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            raise ValueError(
                f"schedule: expected a LearningRateSchedule of Keras, received {schedule!r}"
            )
        self.schedule, self.begin = schedule, check_whole("begin", begin, 0)
        self.stretch = check_number("stretch", stretch, positive=True)
        if not 1e-3 <= self.stretch <= 1e3:
            raise ValueError(f"expected stretch to be in [0.001, 1000], received {stretch!r}")
        self._fraction = Fraction(self.stretch).limit_denominator(1000).as_integer_ratio()

    def __call__(self, step: Any) -> Any:
        """Returns the rate of the update that follows `step` others, a float32 scalar."""
        step = ops.cast(step, "int32")
        if self.stretch != 1:
            # Steps divided by a fraction, in whole numbers that never get larger than the step.
            over, under = self._fraction
            step = step // over * under + step % over * under // over
        return ops.cast(self.schedule(step + self.begin), "float32")

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, all of them JSON values."""
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "begin": self.begin, "stretch": self.stretch}

    def __repr__(self) -> str:
        return f"Rewound({self.schedule!r}, {self.begin}, {self.stretch})"


@register("fine_tune", needs_rates=False)
def fine_tune_of_recipe(given: RateSettings) -> MultiStep:
    """The last rate of training, all the time (fine-tuning)."""
    base, steps = given.training()
    return MultiStep((float(to_numpy(base(steps - 1))),), (), given.steps_per_epoch)


@register("rewind", needs_rates=False)
def rewind_of_recipe(given: RateSettings) -> Rewound:
    """The last epochs of the rate of training, as many as the phase has (rewinding)."""
    base, steps = given.training()
    wanted = given.epochs * given.steps_per_epoch
    if wanted > steps:
        raise ValueError(
            f"epochs: expected at most {steps // given.steps_per_epoch}, those of training, of "
            f"which the last are used again; received {given.epochs}"
        )
    return Rewound(base, steps - wanted)


@register("as_training", needs_rates=False)
def as_training_of_recipe(given: RateSettings) -> Rewound:
    """The whole rate of training, stretched to the epochs of the phase."""
    base, steps = given.training()
    return Rewound(base, 0, stretch=given.epochs * given.steps_per_epoch / steps)
