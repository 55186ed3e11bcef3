"""Computes how many elements a sparsity leaves, in exact whole numbers, on every backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from tfshed.core.backend import INT32_MAX

LOW_24 = 2**24 - 1


def target_count(sparsity: Any, totals: np.ndarray) -> Any:
    """Returns how many elements to keep: max(1, round((1 - sparsity) * total)).

    The sparsity is converted to float32, and everything after that is exact: the product is rounded
    only once, to the nearest whole number (halves to the even one), for any total below 2^31.

    Args:
        sparsity: A number or a float32 scalar tensor in [0, 1).
        totals: Whole numbers below 2^31, one for each scope.

    Returns:
        An int32 tensor of the shape of `totals`.

    >>> ops.convert_to_numpy(target_count(0.85, np.array([1000, 3, 2**30]))).tolist()
    [150, 1, 161061248]
    """
    # Not all backends have int64 or float64, so the product is computed in two int32 words.
    # In float32, 1 - s is a multiple of 2^-24, so the keep-ratio is exactly `ratio` / 2^24.
    keep = 1.0 - ops.cast(sparsity, "float32")
    ratio = ops.cast(ops.round(keep * float(2**24)), "int32")
    high, low = ops.right_shift(ratio, 12), ops.bitwise_and(ratio, 4095)
    totals = np.asarray(totals, np.int64)
    t_high = ops.convert_to_tensor((totals >> 16).astype("int32"))
    t_low = ops.convert_to_tensor((totals & 65535).astype("int32"))
    # The product is (high 2^12 + low) (t_high 2^16 + t_low), with each partial product below 2^28.
    # `whole` collects what is above 2^24, and `rest` what is below it and rounded away.
    middle, cross, least = high * t_low, low * t_high, low * t_low
    whole = high * t_high * 16 + ops.right_shift(middle, 12)
    whole = whole + ops.right_shift(cross, 8) + ops.right_shift(least, 24)
    rest = ops.bitwise_and(middle, 4095) * 4096 + ops.bitwise_and(cross, 255) * 65536
    rest = rest + ops.bitwise_and(least, LOW_24)
    whole, rest = whole + ops.right_shift(rest, 24), ops.bitwise_and(rest, LOW_24)
    # Halves are rounded to even: for an odd `whole`, adding 1 to a `rest` of exactly a half makes
    # it more than a half.
    whole = whole + ops.cast(rest + ops.bitwise_and(whole, 1) > 2**23, "int32")
    return ops.maximum(whole, 1)


def check_totals(totals: Sequence[int] | np.ndarray, granularity: Any) -> None:
    """Raises ValueError if a scope has more elements than can be counted in int32.

    Args:
        totals: The number of elements of each scope.
        granularity: The granularity, which the message names.

    >>> check_totals([2**31 - 1], "Unstructured()")
    >>> check_totals([2**31], "Unstructured()")
    Traceback (most recent call last):
    ...
    ValueError: scope: expected at most 2147483647 elements of Unstructured() in a scope, ...
    """
    most = max(int(t) for t in totals)
    if most > INT32_MAX:
        raise ValueError(
            f"scope: expected at most {INT32_MAX} elements of {granularity!s} in a scope, received "
            f'{most}; use scope="layer", larger blocks, or several declarations with select'
        )
