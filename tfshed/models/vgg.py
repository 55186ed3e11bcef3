"""VGG networks with BatchNorm, in the form that pruning papers use on CIFAR."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import keras

from tfshed.core.arguments import check_whole
from tfshed.models.registry import register

# For each depth, the number of convolutions in each stage. Stage i has width * GROWTH[i] filters.
STAGES = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
GROWTH = (1, 2, 4, 8, 8)


def vgg_bn(
    depth: int,
    input_shape: Sequence[int],
    classes: int,
    *,
    width: int = 64,
    bn_momentum: float = 0.99,
    bn_epsilon: float = 1e-3,
) -> Any:
    """Builds the VGG-16 or VGG-19 that pruning papers train on CIFAR-10. It returns logits.

    It consists of five stages of 3x3 convolutions without bias, each followed by BatchNorm and
    ReLU, 2x2 max-pooling between the stages, global average pooling after the last stage (over 2x2
    pixels if images have 32x32) and one dense layer. Max-pooling rounds odd sizes up, so images can
    have any size. Kernels of convolutions are initialised with He's normal distribution.

    Args:
        depth: 16 or 19. This counts three dense layers as in the original, two of which are left
            out here.
        input_shape: The shape of images as (height, width, channels).
        classes: The number of logits.
        width: The number of filters of the first stage. Default 64.
        bn_momentum, bn_epsilon: The momentum and epsilon of every BatchNorm. The defaults are those
            of Keras.

    Raises:
        ValueError: An argument is out of its range.

    >>> vgg_bn(19, (32, 32, 3), 10, width=4).output_shape
    (None, 10)

    Source: Liu et al. 2017, "Learning Efficient Convolutional Networks through Network Slimming"
    (20.04 M parameters with depth 19); Liu et al. 2019, "Rethinking the Value of Network Pruning".
    """
    if depth not in STAGES:
        raise ValueError(f"vgg_bn: expected a depth of 16 or 19, received {depth!r}")
    width = check_whole("width", width, 1)
    if not 0 <= bn_momentum < 1 or bn_epsilon <= 0:
        raise ValueError(
            "vgg_bn: expected 0 <= bn_momentum < 1 and bn_epsilon > 0, received "
            f"bn_momentum={bn_momentum} and bn_epsilon={bn_epsilon}."
        )
    inputs = x = keras.Input(input_shape)
    for stage, convolutions in enumerate(STAGES[depth]):
        if stage:
            x = keras.layers.MaxPooling2D(2, padding="same", name=f"stage{stage}_pool")(x)
        for i in range(convolutions):
            name = f"stage{stage + 1}_{{}}{i + 1}"
            x = keras.layers.Conv2D(
                width * GROWTH[stage],
                3,
                padding="same",
                use_bias=False,
                kernel_initializer="he_normal",
                name=name.format("conv"),
            )(x)
            x = keras.layers.BatchNormalization(
                momentum=bn_momentum, epsilon=bn_epsilon, name=name.format("bn")
            )(x)
            x = keras.layers.ReLU(name=name.format("relu"))(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="logits")(x))


for _depth in STAGES:
    register(f"vgg{_depth}_bn", options=("width", "bn_momentum", "bn_epsilon"))(
        functools.partial(vgg_bn, _depth)
    )
