"""Learning rates of Keras 3, tfshed's among them, for optimizers of tf_keras."""

from __future__ import annotations

import json
from typing import Any

import keras
import tensorflow as tf

from tfshed.attach.tf_keras.real import tf_keras


@tf_keras.utils.register_keras_serializable("tfshed")
class LearningRate(tf_keras.optimizers.schedules.LearningRateSchedule):
    """A Keras 3 learning-rate schedule as one of tf_keras.

    Args:
        schedule: a `keras.optimizers.schedules.LearningRateSchedule`, such as those of
            `tfshed.learning_rates`, or its JSON from `get_config`.

    Raises:
        TypeError: no such schedule.

    >>> import tf_keras
    >>> from tfshed import learning_rates, tfmot
    >>> rate = learning_rates.MultiStep((0.1, 0.01), (2,), steps_per_epoch=4)
    >>> optimizer = tf_keras.optimizers.SGD(tfmot.LearningRate(rate))
    >>> round(float(tfmot.LearningRate(rate)(8)), 3)
    0.01
    """

    def __init__(self, schedule: Any):
        if isinstance(schedule, str):
            schedule = keras.saving.deserialize_keras_object(json.loads(schedule))
        if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            raise TypeError(
                "schedule: expected a keras.optimizers.schedules.LearningRateSchedule, received "
                f"{schedule!r}"
            )
        self.schedule = schedule

    def __call__(self, step: Any) -> Any:
        return tf.convert_to_tensor(self.schedule(step))

    def get_config(self) -> dict[str, Any]:
        # As text: Keras 2 would read an object of Keras 3 as its own.
        return {"schedule": json.dumps(keras.saving.serialize_keras_object(self.schedule))}
