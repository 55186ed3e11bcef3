"""A small convolutional network with BatchNorm, for experiments on two CPU cores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tfshed.core.arguments import check_bool, check_int
from tfshed.models.registry import register


@register(
    "small_cnn", options=("widths", "separable", "bn_momentum", "bn_epsilon"), preprocessing="unit"
)
def small_cnn(
    input_shape: Sequence[int],
    classes: int,
    *,
    widths: Sequence[int] = (16, 32, 64),
    separable: bool = False,
    bn_momentum: float = 0.9,
    bn_epsilon: float = 1e-5,
) -> Any:
    """Builds 3x3 convolutions with BatchNorm and ReLU, 2x2 max-pooling between them, and logits.

    After the last convolution come global average pooling and one dense layer. Convolutions have no
    bias, and their kernels are initialised with He's normal distribution.

    Args:
        input_shape: The shape of images as (height, width, channels).
        classes: The number of logits.
        widths: The number of filters of each convolution. Default (16, 32, 64).
        separable: Whether each convolution but the first is a 3x3 depthwise one followed by a 1x1
            one, with BatchNorm and ReLU after both, as in MobileNets. Default False.
        bn_momentum, bn_epsilon: The momentum and epsilon of every BatchNorm. Defaults 0.9 and 1e-5,
            which suit runs of a few steps per epoch.

    Raises:
        ValueError: An argument is out of its range.

    >>> small_cnn((28, 28, 1), 10).count_params()
    24282
    >>> small_cnn((28, 28, 1), 10, widths=(16, 32), separable=True).count_params()
    1386
    """
    if not widths:
        raise ValueError("widths: expected at least one number of filters, received none")
    for i, width in enumerate(widths):
        check_int(f"widths[{i}]", width, 1)
    check_bool("separable", separable)
    if not 0 <= bn_momentum < 1 or bn_epsilon <= 0:
        raise ValueError(
            "small_cnn: expected 0 <= bn_momentum < 1 and bn_epsilon > 0, received "
            f"bn_momentum={bn_momentum} and bn_epsilon={bn_epsilon}"
        )

    def normalised(x: Any, name: str) -> Any:
        x = keras.layers.BatchNormalization(
            momentum=bn_momentum, epsilon=bn_epsilon, name=f"{name}_bn"
        )(x)
        return keras.layers.ReLU(name=f"{name}_relu")(x)

    options = {"padding": "same", "use_bias": False}
    inputs = x = keras.Input(input_shape)
    for i, width in enumerate(widths):
        size = 3
        if i:
            x = keras.layers.MaxPooling2D(2, padding="same", name=f"pool{i}")(x)
            if separable:
                name = f"depthwise{i + 1}"
                kernel = {"depthwise_initializer": "he_normal", "name": name}
                x = normalised(keras.layers.DepthwiseConv2D(3, **kernel, **options)(x), name)
                size = 1
        name = f"conv{i + 1}"
        kernel = {"kernel_initializer": "he_normal", "name": name}
        x = normalised(keras.layers.Conv2D(width, size, **kernel, **options)(x), name)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="logits")(x))
