"""Which weights go first: a criterion turns scores into int32 keys, and the smallest keys go.

A new criterion is a subclass with one method::

    @keras.saving.register_keras_serializable(package="my_project")
    class LargestFirst(tfshed.criteria.Criterion):
        def keys(self, scores, offset, step):
            return tfshed.criteria.INF_KEY - tfshed.criteria.bits(scores)
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from tfshed.core.backend import INT32_MAX, bits

__all__ = ["INF_KEY", "Criterion", "Magnitude", "Random", "bits", "get"]

INF_KEY = int(np.float32(np.inf).view(np.int32))


class Criterion:
    """Base of the criteria.

    Attributes:
        grows_threshold: whether the shedding threshold follows the largest score that was
            pruned. True for magnitude, false for random pruning (section 3.2 of Azarian &
            Porikli 2021, arXiv 2103.10629).
    """

    grows_threshold = False

    def keys(self, scores: Any, offset: int, step: Any) -> Any:
        """Int32 keys of the shape of `scores`, each >= 0; of the kept groups the smallest go.

        Args:
            scores: float32 tensor, the magnitude of each weight or block, any shape.
            offset: number of groups in the variables before this one in the same scope, so that
                `offset` + flat index tells all groups of the net apart.
            step: int32 scalar tensor, the optimizer step of the update.

        Raises:
            NotImplementedError: a subclass did not define it.
        """
        raise NotImplementedError(f"{type(self).__name__} must define keys(scores, offset, step)")

    def get_config(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Criterion:
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((type(self), tuple(sorted(self.get_config().items()))))

    def __repr__(self) -> str:
        args = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items())
        return f"{type(self).__name__}({args})"


@keras.saving.register_keras_serializable(package="tfshed")
class Magnitude(Criterion):
    """The smallest magnitudes go first; the default (GMP when the scope is global).

    >>> from tfshed import criteria
    >>> criteria.get("magnitude")
    Magnitude()
    """

    grows_threshold = True

    def keys(self, scores: Any, offset: int, step: Any) -> Any:
        return bits(scores)


@keras.saving.register_keras_serializable(package="tfshed")
class Random(Criterion):
    """Kept groups go by chance, each with the same probability, over the whole scope at once.

    The keys are a permutation of the positions that depends on seed and step only: the same run
    prunes the same weights again, on every backend and every replica.

    Args:
        seed: int, default 0.

    >>> from tfshed import criteria
    >>> criteria.get("random", seed=3)
    Random(seed=3)
    """

    def __init__(self, seed: int = 0):
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
            raise ValueError(f"seed: expected an int, received {seed!r}")
        self.seed = int(seed)

    def keys(self, scores: Any, offset: int, step: Any) -> Any:
        x = ops.arange(offset, offset + int(np.prod(scores.shape)), dtype="int32")
        return ops.reshape(_permute(x, self.seed, step), scores.shape)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}


def _permute(x: Any, seed: int, step: Any) -> Any:
    """A pseudo-random permutation of 0 ... 2^31 - 1: each round is a bijection modulo 2^31."""
    rounds = np.random.SeedSequence(seed & 0xFFFFFFFFFFFFFFFF).generate_state(6)
    step = ops.cast(step, "int32")
    for i, (multiplier, add) in enumerate(zip(rounds[:3], rounds[3:])):
        odd = int((multiplier | 1) & INT32_MAX)
        # The step enters every round through a mixed constant, or near steps would look alike.
        key = ops.bitwise_and(
            step * int((0x9E3779B1 * (2 * i + 1)) & INT32_MAX) + int(add & INT32_MAX), INT32_MAX
        )
        key = ops.bitwise_xor(key, ops.right_shift(key, 15))
        x = ops.bitwise_xor(x, key)
        x = ops.bitwise_and(x * odd, INT32_MAX)
        x = ops.bitwise_xor(x, ops.right_shift(x, 16))
    return ops.bitwise_and(x * 0x2C1B3C6D, INT32_MAX)


def get(criterion: str | Criterion, seed: int = 0) -> Criterion:
    """The criterion of a name, or the object itself.

    Raises:
        ValueError: neither a known name nor a `Criterion`.

    >>> from tfshed import criteria
    >>> criteria.get("biggest")
    Traceback (most recent call last):
    ...
    ValueError: criterion: expected "magnitude", "random" or a ..., received 'biggest'
    """
    if isinstance(criterion, Criterion):
        return criterion
    if criterion == "magnitude":
        return Magnitude()
    if criterion == "random":
        return Random(seed)
    raise ValueError(
        'criterion: expected "magnitude", "random" or a tfshed.criteria.Criterion, '
        f"received {criterion!r}"
    )
