"""LeNet-300-100, the fully connected network of LeCun et al. 1998."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tfshed.models.registry import register


@register("lenet_300_100", preprocessing="unit")
def lenet_300_100(input_shape: Sequence[int], classes: int) -> Any:
    """Builds a network of two hidden dense layers with 300 and 100 ReLU units, and logits.

    Kernels are initialised with Glorot's normal distribution.

    Args:
        input_shape: The shape of images as (height, width, channels).
        classes: The number of logits.

    >>> lenet_300_100((28, 28, 1), 10).count_params()
    266610

    Source: LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition". This form
    is pruned by Frankle & Carbin 2019, "The Lottery Ticket Hypothesis".
    """
    inputs = keras.Input(input_shape)
    x = keras.layers.Flatten(name="flatten")(inputs)
    for i, units in enumerate((300, 100)):
        x = keras.layers.Dense(
            units, activation="relu", kernel_initializer="glorot_normal", name=f"hidden{i + 1}"
        )(x)
    logits = keras.layers.Dense(classes, kernel_initializer="glorot_normal", name="logits")
    return keras.Model(inputs, logits(x))
