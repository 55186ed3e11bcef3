"""What an operator of a LiteRT file may be in a part that XNNPACK computes with the channels first.

The rules are those of `xnn_check_nchw_compatibility` (XNNPACK, src/subgraph.c).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfshed.export.litert.flatbuffer import data, kind

# Operators of one input that are computed element by element.
ELEMENTWISE = frozenset(
    {
        *("ABS", "CEIL", "COS", "ELU", "EXP", "FLOOR", "GELU", "HARD_SWISH", "LEAKY_RELU"),
        *("LOGISTIC", "NEG", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "ROUND", "RSQRT"),
        *("SIN", "SQRT", "SQUARE", "TANH"),
    }
)
SAME = 0  # `Padding.SAME` in LiteRT's schema
STARTS, INSIDE, ENDS, OUTSIDE = "starts", "inside", "ends", "outside"
# The end of the name of what separate_parts.py puts into a file.
APART = b"_apart"


def role(model: Any, graph: Any, operator: Any, padding: int) -> tuple[str, str]:
    """One of STARTS, INSIDE, ENDS and OUTSIDE, and for OUTSIDE the reason.

    Args:
        model, graph, operator: Of the file.
        padding: By how much an operator before it pads height and width.
    """
    name = kind(model, operator)
    if operator.inputs is None or not len(operator.inputs):
        return OUTSIDE, f"{name} takes nothing"
    given, made = graph.tensors[int(operator.inputs[0])], graph.tensors[int(operator.outputs[0])]
    if not all(_is_float(tensor) for tensor in (given, made)):
        return OUTSIDE, "it does not compute in floats"
    if name == "CONV_2D":
        return _role_of_convolution(graph, operator, padding)
    if name == "DEPTHWISE_CONV_2D":
        return _role_of_depthwise(graph, operator, padding)
    if name in ("MEAN", "SUM"):
        axes = data(model, graph.tensors[int(operator.inputs[1])])
        over = None if axes is None else sorted(axes.view(np.int32).tolist())
        if len(given.shape) == 4 and over in ([1, 2], [-3, -2]):
            return ENDS, ""
        return OUTSIDE, f"{name} is not over height and width"
    if name in ("ADD", "MUL"):
        sizes = [len(_shape(graph, int(i))) for i in operator.inputs]
        return (INSIDE, "") if sizes == [4, 4] else (OUTSIDE, f"{name} of axes {sizes}, not 4")
    if name == "RESIZE_BILINEAR" or name in ELEMENTWISE:
        return (INSIDE, "") if len(given.shape) == 4 else (OUTSIDE, f"{name} of other than 4 axes")
    if name == "DEPTH_TO_SPACE":
        return ENDS, ""
    if made.name.endswith(APART):
        return OUTSIDE, "export.litert ends the sparse part there, for XNNPACK to load it right"
    return OUTSIDE, f"XNNPACK has no {name} with channels first"


def _is_float(tensor: Any) -> bool:
    from tensorflow.lite.python.schema_py_generated import TensorType

    return tensor.type in (TensorType.FLOAT32, TensorType.FLOAT16)


def _role_of_convolution(graph: Any, operator: Any, padding: int) -> tuple[str, str]:
    options = operator.builtinOptions
    strides = (options.strideH, options.strideW)
    outputs, height, width, inputs = _shape(graph, int(operator.inputs[1]))
    if _shape(graph, int(operator.inputs[0]))[-1] != inputs:
        return OUTSIDE, "the convolution has groups"
    if (options.dilationHFactor, options.dilationWFactor) != (1, 1):
        return OUTSIDE, "the convolution is dilated"
    if (height, width) == (1, 1):
        if padding or strides != (1, 1):
            return OUTSIDE, "a 1x1 convolution with padding or a stride"
        return INSIDE, ""
    if (height, width, inputs) == (3, 3, 3) and strides == (2, 2):
        if padding == 1 and options.padding != SAME:
            return STARTS, ""
        return OUTSIDE, "its padding is not ZeroPadding2D(1)"
    return OUTSIDE, f"a {height}x{width} convolution of {inputs} channels"


def _role_of_depthwise(graph: Any, operator: Any, padding: int) -> tuple[str, str]:
    options = operator.builtinOptions
    strides = (options.strideH, options.strideW)
    _, height, width, _ = _shape(graph, int(operator.inputs[1]))
    if height != width or height not in (3, 5) or strides not in ((1, 1), (2, 2)):
        return OUTSIDE, f"a {height}x{width} depthwise convolution of strides {strides}"
    if (options.dilationHFactor, options.dilationWFactor) != (1, 1):
        return OUTSIDE, "the depthwise convolution is dilated"
    if options.depthMultiplier != 1:
        return OUTSIDE, f"depth_multiplier={options.depthMultiplier}"
    same = options.padding == SAME
    if same and strides == (1, 1) and not padding:
        return INSIDE, ""
    if same or padding != height // 2:
        return OUTSIDE, f"a depthwise convolution not behind ZeroPadding2D({height // 2})"
    return INSIDE, ""


def is_pointwise(model: Any, graph: Any, operator: Any) -> bool:
    """Whether it is a convolution of size 1x1."""
    if kind(model, operator) != "CONV_2D":
        return False
    return tuple(_shape(graph, int(operator.inputs[1]))[1:3]) == (1, 1)


def _shape(graph: Any, index: int) -> tuple[int, ...]:
    shape = graph.tensors[index].shape
    return () if shape is None else tuple(int(n) for n in shape)
