"""How many weights of a kernel there are and how many are not zero, also in packed kernels."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tfshed.attach.kernels import Candidate
from tfshed.core.backend import to_numpy

PACKED = "int4, two weights in each element: only floating weights are pruned"
NOT_COUNTED = "int4, two weights in each element, which are not counted here and shown as non-zero"


def count_weights(candidate: Candidate) -> tuple[tuple[int, ...], int, int, str]:
    """The shape, the number of weights, the number of those that are not zero, and a remark.

    The remark is why a kernel that is quantised to four bits is not pruned; empty for all others.
    """
    variable, layer = candidate.kernel.variable, candidate.owner
    weight = to_numpy(variable)
    if getattr(layer, "quantization_mode", None) != "int4" or candidate.own_name != "kernel":
        # Not `np.count_nonzero`, which does not know bfloat16.
        return tuple(weight.shape), weight.size, int((weight != 0).sum()), ""
    if type(layer) is not keras.layers.Dense:
        return tuple(weight.shape), 2 * weight.size, 2 * weight.size, NOT_COUNTED
    inputs = layer.input_spec.axes[-1]
    # Keras 3.12 and 3.13 pack the kernel along the inputs, later versions along the outputs.
    length, axis = (layer.units, -1) if weight.shape[0] == inputs else (inputs, 0)
    values = to_numpy(keras.quantizers.unpack_int4(variable.value, length, axis=axis))
    nonzero = int((values != _zero_points(layer)).sum())
    return tuple(values.shape), values.size, nonzero, PACKED


def _zero_points(layer: Any) -> Any:
    """The integer that stands for 0.0, for each weight: one for each group of input channels."""
    zeros = getattr(layer, "kernel_zero", None)
    if zeros is None:
        return 0
    return to_numpy(zeros)[to_numpy(layer.g_idx).astype(np.int64)]
