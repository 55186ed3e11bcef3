"""Crossentropy with label smoothing for integer labels; Keras has it for one-hot labels only."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfshed")
class SmoothedCrossentropy(keras.losses.Loss):
    """Crossentropy of logits with integer labels and label smoothing.

    With a = label_smoothing and k classes, the target of the true class is 1 - a + a / k, and that
    of the others a / k, as in `keras.losses.CategoricalCrossentropy` for one-hot labels.

    Args:
        label_smoothing: The amount a, in [0, 1). Default 0.
        name, reduction, dtype: As for every loss of Keras.

    Example:
        >>> loss = SmoothedCrossentropy(0.1)
        >>> round(float(loss([1], [[0.0, 2.0]])), 4)
        0.2269

    Source: Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision",
    section 7.
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        name: str = "smoothed_crossentropy",
        reduction: str = "sum_over_batch_size",
        dtype: Any = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        # Keras passes labels of shape [batch] or [batch, 1].
        labels = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        log_p = ops.log_softmax(y_pred, axis=-1)
        picked = ops.take_along_axis(log_p, labels[:, None], axis=-1)[:, 0]
        a = self.label_smoothing
        return -(1.0 - a) * picked - a * ops.mean(log_p, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "label_smoothing": self.label_smoothing}
