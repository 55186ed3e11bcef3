"""SGD whose momentum follows a schedule, on every backend."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from tfshed.attach.keras3.private import set_untracked, variable_key


@keras.saving.register_keras_serializable(package="tfshed")
class ScheduledMomentumSGD(keras.optimizers.SGD):
    """Keras' SGD with a momentum that is a function of the step.

    The step is m <- momentum(t) m - rate(t) g and w <- w + m, with t the number of steps before.

    Args:
        learning_rate: a number or a schedule.
        momentum_schedule: a `LearningRateSchedule` whose values are used as momentum, in [0, 1).
        nesterov: whether to take Nesterov's step, w <- w + momentum(t) m - rate(t) g.
        **options: as of `keras.optimizers.SGD`, but for `momentum`.

    Raises:
        ValueError: `momentum_schedule` is no schedule.

    >>> import keras
    >>> from tfshed.learning_rates import OneCycle, ScheduledMomentumSGD
    >>> rate = OneCycle(1e-3, 0.1, 1e-5, steps=100)
    >>> momentum = OneCycle(0.95, 0.85, 0.95, steps=100)
    >>> optimizer = ScheduledMomentumSGD(rate, momentum)
    >>> net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> net.compile(optimizer, "mse")

    Source: Smith 2018 (arXiv 1803.09820), section 4.2: momentum falls while the rate rises.
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule,
        momentum_schedule: LearningRateSchedule | dict[str, Any],
        nesterov: bool = False,
        name: str = "scheduled_momentum_sgd",
        **options: Any,
    ) -> None:
        if isinstance(momentum_schedule, dict):
            momentum_schedule = keras.saving.deserialize_keras_object(momentum_schedule)
        if not isinstance(momentum_schedule, keras.optimizers.schedules.LearningRateSchedule):
            raise ValueError(
                "momentum_schedule: expected a LearningRateSchedule of Keras, received "
                f"{momentum_schedule!r}"
            )
        # The parent makes its slots only for a momentum that is not 0.
        super().__init__(learning_rate, momentum=0.9, nesterov=nesterov, name=name, **options)
        set_untracked(self, momentum_schedule=momentum_schedule, slots={})

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        pairs = zip(variables, self.momentums)
        set_untracked(self, slots={variable_key(self, v): slot for v, slot in pairs})

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        learning_rate = ops.cast(learning_rate, variable.dtype)
        change = ops.cast(gradient, variable.dtype) * learning_rate
        momentum = ops.cast(self.momentum_schedule(self.iterations), variable.dtype)
        slot = self.slots[variable_key(self, variable)]
        self.assign(slot, slot * momentum - change)
        self.assign_add(variable, slot * momentum - change if self.nesterov else slot)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["momentum"]
        schedule = keras.saving.serialize_keras_object(self.momentum_schedule)
        return {**config, "momentum_schedule": schedule}
