"""Densely connected networks, in the form that pruning papers use on CIFAR."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import keras

from tfshed.core.arguments import check_whole
from tfshed.models.registry import register

STAGES = 3


def densenet(
    depth: int,
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    *,
    bottleneck: bool = False,
    growth: int = 12,
    bn_momentum: float = 0.99,
    bn_epsilon: float = 1e-3,
) -> Any:
    """Builds the DenseNet, or DenseNet-BC, that Huang et al. trained on CIFAR.

    It consists of a 3x3 convolution with 16 filters (DenseNet-BC: `2 * growth`), three stages of
    dense blocks, BatchNorm and ReLU, global average pooling and a dense layer, which returns
    **logits**. A block is BN-ReLU-3x3 convolution with `growth` filters, whose output is put beside
    its input. Between the stages are BN-ReLU-1x1 convolution and 2x2 average pooling.

    Args:
        depth: The number of layers with weights: `3 * n + 4` with n blocks in a stage, or with
            bottlenecks `6 * n + 4`.
        input_shape: The shape of images as `(height, width, channels)`, at least 4x4 pixels.
            Default (32, 32, 3).
        classes: The number of logits. Default 10.
        bottleneck: Whether it is a DenseNet-BC: a 1x1 convolution with `4 * growth` filters comes
            before each 3x3 convolution, and those between the stages halve the channels. Default
            False.
        growth: The number of filters k of a block. Default 12.
        bn_momentum, bn_epsilon: The momentum and epsilon of every BatchNorm. The defaults are those
            of Keras.

    Raises:
        ValueError: The depth does not fit, or another argument is out of its range.

    >>> from tfshed import models
    >>> net = models.build("densenet_bc40", input_shape=(8, 8, 1), classes=3, growth=4)
    >>> net.output_shape
    (None, 3)

    Source: Huang et al. 2017, "Densely Connected Convolutional Networks" (arXiv 1608.06993):
    1.0 M parameters with depth 40, 0.8 M as DenseNet-BC with depth 100.
    """
    layers = 6 if bottleneck else 3
    if depth < 4 + layers or (depth - 4) % layers:
        raise ValueError(
            f"depth: expected {layers} n + 4 with n >= 1 and bottleneck={bottleneck}, received "
            f"{depth!r}"
        )
    growth = check_whole("growth", growth, 1)
    if not 0 <= bn_momentum < 1 or bn_epsilon <= 0:
        raise ValueError(
            "densenet: expected 0 <= bn_momentum < 1 and bn_epsilon > 0, received "
            f"bn_momentum={bn_momentum} and bn_epsilon={bn_epsilon}"
        )

    def conv(x: Any, filters: int, size: int, name: str) -> Any:
        return keras.layers.Conv2D(
            filters,
            size,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=name,
        )(x)

    def activate(x: Any, name: str) -> Any:
        x = keras.layers.BatchNormalization(
            momentum=bn_momentum, epsilon=bn_epsilon, name=name.format("bn")
        )(x)
        return keras.layers.ReLU(name=name.format("relu"))(x)

    inputs = keras.Input(input_shape)
    x = conv(inputs, 2 * growth if bottleneck else 16, 3, "stem_conv")
    for stage in range(STAGES):
        if stage:
            name = f"transition{stage}_{{}}"
            channels = int(x.shape[-1])
            x = activate(x, name)
            x = conv(x, channels // 2 if bottleneck else channels, 1, name.format("conv"))
            x = keras.layers.AveragePooling2D(2, name=name.format("pool"))(x)
        for block in range((depth - 4) // layers):
            name = f"stage{stage + 1}_block{block + 1}_{{}}"
            y = activate(x, f"{name}1")
            if bottleneck:
                y = conv(y, 4 * growth, 1, name.format("conv1"))
                y = activate(y, f"{name}2")
            y = conv(y, growth, 3, name.format("conv2" if bottleneck else "conv1"))
            x = keras.layers.Concatenate(name=name.format("concat"))([x, y])
    x = activate(x, "top_{}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="logits")(x))


for _name, _depth, _bottleneck in (
    ("densenet40", 40, False),
    ("densenet_bc40", 40, True),
    ("densenet_bc100", 100, True),
):
    register(_name, options=("growth", "bn_momentum", "bn_epsilon"), least=4)(
        functools.partial(densenet, _depth, bottleneck=_bottleneck)
    )
