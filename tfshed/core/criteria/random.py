"""Random pruning: every kept element is pruned with the same probability."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from tfshed.core.arguments import check_int
from tfshed.core.backend import INT32_MAX
from tfshed.core.criteria.base import Criterion, register
from tfshed.core.criteria.context import Context


@register("random")
@keras.saving.register_keras_serializable(package="tfshed")
class Random(Criterion):
    """Prunes kept elements at random, each with the same probability.

    The scores are a permutation of the positions in the model. It depends only on the seed and the
    step, so the same run prunes the same weights on every backend and every replica, and no two
    kernels get the same scores.

    Args:
        seed: The seed of the permutation, a whole number. Default 0.

    Raises:
        ValueError: `seed` is no whole number.

    >>> from tfshed import criteria
    >>> criteria.get("random", seed=3)
    Random(seed=3)
    """

    signed = False

    def __init__(self, seed: int = 0):
        check_int("seed", seed)
        self.seed = int(seed)

    def scores(self, context: Context) -> Any:
        return permute(context.positions(), self.seed, context.step)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}


def permute(x: Any, seed: int, step: Any) -> Any:
    """Applies a pseudo-random permutation of 0 ... 2^31 - 1 to each number in `x`.

    Every operation is a bijection modulo 2^31 (multiplying by an odd number, xor with a constant or
    with shifted bits), so different numbers stay different.
    """
    rounds = np.random.SeedSequence(seed & 0xFFFFFFFFFFFFFFFF).generate_state(6)
    step = ops.cast(step, "int32")
    for i, (multiplier, add) in enumerate(zip(rounds[:3], rounds[3:])):
        odd = int((multiplier | 1) & INT32_MAX)
        # The step is mixed into each round by a constant of its own; otherwise neighbouring steps
        # would have similar permutations.
        key = ops.bitwise_and(
            step * int((0x9E3779B1 * (2 * i + 1)) & INT32_MAX) + int(add & INT32_MAX), INT32_MAX
        )
        key = ops.bitwise_xor(key, ops.right_shift(key, 15))
        x = ops.bitwise_xor(x, key)
        x = ops.bitwise_and(x * odd, INT32_MAX)
        x = ops.bitwise_xor(x, ops.right_shift(x, 16))
    return ops.bitwise_and(x * 0x2C1B3C6D, INT32_MAX)
