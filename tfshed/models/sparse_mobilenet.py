"""MobileNets and EfficientNet-lite in the form that XNNPACK runs sparse in browsers and on phones.

They differ from those of keras.applications in two ways. Convolutions with strides are padded by 1
(3x3) or 2 (5x5) on each side by a layer of its own, where those of keras.applications are padded on
two sides only. And MobileNetV3 has no squeeze-and-excitation: in a net with a pooling in each
block, XNNPACK runs nothing sparse.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import keras

from tfshed.core.arguments import check_number
from tfshed.models.registry import register

L = keras.layers

# Depthwise separable blocks of MobileNetV1: filters, strides.
V1 = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *[(512, 1)] * 5,
    *((1024, 2), (1024, 1)),
)
# Inverted residual blocks: size, expanded filters, filters, activation, strides. Below 20, expanded
# filters are a multiple of the block's inputs.
V2 = (
    (3, 1, 16, "relu6", 1),
    *((3, 6, 24, "relu6", s) for s in (2, 1)),
    *((3, 6, 32, "relu6", s) for s in (2, 1, 1)),
    *((3, 6, 64, "relu6", s) for s in (2, 1, 1, 1)),
    *((3, 6, 96, "relu6", s) for s in (1, 1, 1)),
    *((3, 6, 160, "relu6", s) for s in (2, 1, 1)),
    (3, 6, 320, "relu6", 1),
)
V3_LARGE = (
    *((3, 1, 16, "relu", 1), (3, 64, 24, "relu", 2), (3, 72, 24, "relu", 1)),
    *((5, 72, 40, "relu", 2), (5, 120, 40, "relu", 1), (5, 120, 40, "relu", 1)),
    *((3, 240, 80, "hard_silu", 2), (3, 200, 80, "hard_silu", 1)),
    *((3, 184, 80, "hard_silu", 1), (3, 184, 80, "hard_silu", 1)),
    *((3, 480, 112, "hard_silu", 1), (3, 672, 112, "hard_silu", 1)),
    (5, 672, 160, "hard_silu", 2),
    *((5, 960, 160, "hard_silu", 1), (5, 960, 160, "hard_silu", 1)),
)
V3_SMALL = (
    *((3, 1, 16, "relu", 2), (3, 72, 24, "relu", 2), (3, 88, 24, "relu", 1)),
    *((5, 96, 40, "hard_silu", 2), (5, 240, 40, "hard_silu", 1), (5, 240, 40, "hard_silu", 1)),
    *((5, 120, 48, "hard_silu", 1), (5, 144, 48, "hard_silu", 1)),
    *((5, 288, 96, "hard_silu", 2), (5, 576, 96, "hard_silu", 1), (5, 576, 96, "hard_silu", 1)),
)
LITE0 = (
    (3, 1, 16, "relu6", 1),
    *((3, 6, 24, "relu6", s) for s in (2, 1)),
    *((5, 6, 40, "relu6", s) for s in (2, 1)),
    *((3, 6, 80, "relu6", s) for s in (2, 1, 1)),
    *((5, 6, 112, "relu6", s) for s in (1, 1, 1)),
    *((5, 6, 192, "relu6", s) for s in (2, 1, 1, 1)),
    (3, 6, 320, "relu6", 1),
)
# Filters of the first and the last convolution, units behind the pooling, activation, blocks.
INVERTED = {
    "sparse_mobilenet_v2": (32, 1280, 0, "relu6", V2),
    "sparse_mobilenet_v3_small": (16, 576, 1024, "hard_silu", V3_SMALL),
    "sparse_mobilenet_v3_large": (16, 960, 1280, "hard_silu", V3_LARGE),
    "sparse_efficientnet_lite0": (32, 1280, 0, "relu6", LITE0),
}


@register("sparse_mobilenet_v1", options=("width",), least=32)
def sparse_mobilenet_v1(input_shape: Sequence[int], classes: int, *, width: float = 1.0) -> Any:
    """Builds a MobileNetV1 that XNNPACK runs sparse once it is pruned; it ends in logits.

    Args:
        input_shape: (height, width, 3); XNNPACK needs 3 channels.
        classes: The number of logits.
        width: A factor for the filters of all layers, rounded to multiples of 8. Default 1.

    Raises:
        ValueError: `width` is no positive number.

    >>> sparse_mobilenet_v1((32, 32, 3), 10, width=0.25).count_params()
    221114

    Source: Howard et al. 2017, "MobileNets" (arXiv 1704.04861), table 1; sparse as in Elsen et al.
    2019, "Fast Sparse ConvNets" (arXiv 1911.09723).
    """
    width = check_number("width", width, positive=True)
    inputs, x = _start(input_shape, _filters(32, width), "relu6")
    for number, (filters, strides) in enumerate(V1):
        x = _depthwise(x, 3, strides, "relu6", f"block{number}_depthwise")
        x = _pointwise(x, _filters(filters, width), "relu6", f"block{number}_pointwise")
    return _end(inputs, x, classes)


def inverted_residuals(
    name: str, input_shape: Sequence[int], classes: int, *, width: float = 1.0
) -> Any:
    """Builds a net of inverted residual blocks that XNNPACK runs sparse; it ends in logits.

    Args:
        name: A key of `INVERTED`.
        input_shape, classes, width: As for `sparse_mobilenet_v1`.

    Raises:
        ValueError: `width` is no positive number.

    >>> inverted_residuals("sparse_mobilenet_v2", (32, 32, 3), 10).count_params()
    2270794

    Source: Sandler et al. 2018 (arXiv 1801.04381), Howard et al. 2019 (arXiv 1905.02244) without
    squeeze-and-excitation, and EfficientNet-lite0 of the TPU repository.
    """
    width = check_number("width", width, positive=True)
    first, last, hidden, activation, blocks = INVERTED[name]
    inputs, x = _start(input_shape, _filters(first, width), activation)
    for number, (size, expanded, filters, inner, strides) in enumerate(blocks):
        block, filters = f"block{number}", _filters(filters, width)
        many = expanded * x.shape[-1] if expanded < 20 else _filters(expanded, width)
        y = x
        if many != x.shape[-1]:
            y = _pointwise(y, many, inner, f"{block}_expand")
        y = _depthwise(y, size, strides, inner, f"{block}_depthwise")
        y = _pointwise(y, filters, None, f"{block}_project")
        same = strides == 1 and x.shape[-1] == filters
        x = L.Add(name=f"{block}_add")([x, y]) if same else y
    x = _pointwise(x, _filters(last, max(width, 1.0)), activation, "last")
    return _end(inputs, x, classes, hidden)


for _name in INVERTED:
    register(_name, options=("width",), least=32)(functools.partial(inverted_residuals, _name))


def _start(input_shape: Sequence[int], filters: int, activation: str) -> tuple[Any, Any]:
    inputs = keras.Input(input_shape)
    x = L.ZeroPadding2D(1, name="first_padding")(inputs)
    x = L.Conv2D(filters, 3, strides=2, use_bias=False, name="first")(x)
    return inputs, _normalised(x, activation, "first")


def _pointwise(x: Any, filters: int, activation: str | None, name: str) -> Any:
    return _normalised(L.Conv2D(filters, 1, use_bias=False, name=name)(x), activation, name)


def _depthwise(x: Any, size: int, strides: int, activation: str, name: str) -> Any:
    padding = "same"
    if strides == 2:
        x, padding = L.ZeroPadding2D(size // 2, name=f"{name}_padding")(x), "valid"
    x = L.DepthwiseConv2D(size, strides=strides, padding=padding, use_bias=False, name=name)(x)
    return _normalised(x, activation, name)


def _normalised(x: Any, activation: str | None, name: str) -> Any:
    x = L.BatchNormalization(name=f"{name}_bn")(x)
    return x if activation is None else L.Activation(activation, name=f"{name}_{activation}")(x)


def _end(inputs: Any, x: Any, classes: int, hidden: int = 0) -> Any:
    x = L.GlobalAveragePooling2D(name="pool")(x)
    if hidden:
        x = L.Dense(hidden, activation="hard_silu", name="hidden")(x)
    return keras.Model(inputs, L.Dense(classes, name="logits")(x))


def _filters(filters: int, width: float) -> int:
    """A multiple of 8 near `filters * width`, at least 8."""
    return max(8, 8 * round(filters * width / 8))
