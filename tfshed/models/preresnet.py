"""Residual networks with pre-activation, in the form that pruning papers use on CIFAR."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import keras

from tfshed.core.arguments import check_whole
from tfshed.models.registry import register

STAGES = 3
# A block puts out so many times as many channels as its 3x3 convolution has.
EXPANSION = 4


def preresnet(
    depth: int,
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    *,
    width: int = 16,
    bn_momentum: float = 0.99,
    bn_epsilon: float = 1e-3,
) -> Any:
    """Builds the residual network with pre-activation and bottlenecks of He et al. 2016b.

    It consists of a 3x3 convolution, three stages of `n = (depth - 2) / 9` blocks, BatchNorm and
    ReLU, global average pooling and a dense layer, which returns **logits**. A block is BN-ReLU-1x1
    convolution-BN-ReLU-3x3 convolution-BN-ReLU-1x1 convolution, added to its input. The 3x3
    convolutions of the stages have `width`, `2 * width` and `4 * width` filters, and the outputs of
    the blocks four times as many. The first block of each stage has a 1x1 convolution as its
    shortcut; in the second and third stage it halves height and width.

    Args:
        depth: The number of layers with weights along the main path, `9 * n + 2`: 20, 29, ..., 164.
            What the code of Liu et al. 2019 calls PreResNet-110 has `n = 18` and so is
            `preresnet(164)`.
        input_shape: The shape of images as `(height, width, channels)`. Default (32, 32, 3).
        classes: The number of logits. Default 10.
        width: The number of filters of the first stage. Default 16.
        bn_momentum, bn_epsilon: The momentum and epsilon of every BatchNorm. The defaults are those
            of Keras.

    Raises:
        ValueError: The depth is not `9 * n + 2`, or another argument is out of its range.

    >>> from tfshed import models
    >>> models.build("preresnet20", input_shape=(8, 8, 1), classes=3, width=4).output_shape
    (None, 3)

    Source: He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks", ECCV 2016
    (1.7 M parameters with depth 164); pruned by Liu et al. 2017 (arXiv 1708.06519).
    """
    if depth < 11 or (depth - 2) % 9:
        raise ValueError(
            f"depth: expected 9 n + 2 with n >= 1 (11, 20, 29, ...), received {depth!r}"
        )
    width = check_whole("width", width, 1)
    if not 0 <= bn_momentum < 1 or bn_epsilon <= 0:
        raise ValueError(
            "preresnet: expected 0 <= bn_momentum < 1 and bn_epsilon > 0, received "
            f"bn_momentum={bn_momentum} and bn_epsilon={bn_epsilon}"
        )

    def conv(x: Any, filters: int, size: int, name: str, strides: int = 1) -> Any:
        return keras.layers.Conv2D(
            filters,
            size,
            strides=strides,
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
    x = conv(inputs, width, 3, "stem_conv")
    for stage in range(STAGES):
        filters = width * 2**stage
        for block in range((depth - 2) // 9):
            name = f"stage{stage + 1}_block{block + 1}_{{}}"
            strides = 2 if stage and not block else 1
            y = activate(x, f"{name}1")
            y = conv(y, filters, 1, name.format("conv1"))
            y = activate(y, f"{name}2")
            y = conv(y, filters, 3, name.format("conv2"), strides)
            y = activate(y, f"{name}3")
            y = conv(y, EXPANSION * filters, 1, name.format("conv3"))
            if not block:
                x = conv(x, EXPANSION * filters, 1, name.format("shortcut_conv"), strides)
            x = keras.layers.Add(name=name.format("add"))([x, y])
    x = activate(x, "top_{}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="logits")(x))


for _depth in (20, 29, 56, 110, 164):
    register(f"preresnet{_depth}", options=("width", "bn_momentum", "bn_epsilon"))(
        functools.partial(preresnet, _depth)
    )
