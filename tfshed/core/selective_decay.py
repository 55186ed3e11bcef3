"""Selective weight decay: blocks that unstructured pruning would thin out decay faster."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from tfshed.core.backend import bits
from tfshed.core.granularity import Axes, Granularity

DEFAULT_MULTIPLIERS = {0: 0.0, 1: 4.0, 2: 2.0, 3: 1.0, 4: 0.0}


@keras.saving.register_keras_serializable(package="tfshed")
class SelectiveWeightDecay:
    """L2 decay whose strength depends on how many weights of a block would survive on their own.

    A block's L0 is the number of its weights that unstructured pruning would keep: those above the
    largest magnitude that it would remove at the target sparsity over the scope (default), or above
    a fixed number. All weights w of the block get rate * multipliers[L0] * w added to their
    gradient. Section 3.3 of Azarian & Porikli 2021 (arXiv 2103.10629). Weights that a padded last
    block lacks count as kept.

    Args:
        rate: float >= 0, default 1e-4.
        multipliers: mapping L0 -> factor >= 0, for every L0 from 0 to the block's size; default
            {0: 0, 1: 4, 2: 2, 3: 1, 4: 0}, made for blocks of 4.
        threshold: None for the quantile, or a fixed magnitude > 0 (the paper's degenerate weights
            lie below 6e-3).

    Raises:
        ValueError: naming the argument, what was expected and what came.

    >>> SelectiveWeightDecay().multipliers
    {0: 0.0, 1: 4.0, 2: 2.0, 3: 1.0, 4: 0.0}
    """

    def __init__(
        self,
        rate: float = 1e-4,
        multipliers: Mapping[int, float] | None = None,
        threshold: float | None = None,
    ):
        if not (0 <= rate < math.inf):
            raise ValueError(f"rate: expected a finite number >= 0, received {rate!r}")
        # JSON turns the keys into text.
        table = {int(k): float(v) for k, v in (multipliers or DEFAULT_MULTIPLIERS).items()}
        if sorted(table) != list(range(len(table))) or any(
            not 0 <= v < math.inf for v in table.values()
        ):
            raise ValueError(
                "multipliers: expected a factor >= 0 for every L0 from 0 on, received "
                f"{multipliers!r}"
            )
        if threshold is not None and not (0 < threshold < math.inf):
            raise ValueError(f"threshold: expected None or a number > 0, received {threshold!r}")
        self.rate, self.multipliers, self.threshold = float(rate), table, threshold

    def check(self, block_size: int) -> None:
        """Raises ValueError unless there is a multiplier for each L0 of such a block."""
        if len(self.multipliers) != block_size + 1:
            raise ValueError(
                f"weight_decay multipliers: expected L0 = 0 ... {block_size} for blocks of "
                f"{block_size} weights, received {sorted(self.multipliers)}"
            )

    def gradient(self, weight: Any, largest_gone: Any, granularity: Granularity, axes: Axes) -> Any:
        """What to add to the gradient of `weight`; of its shape and dtype.

        Args:
            weight: the kernel.
            largest_gone: float32 scalar, the largest magnitude that unstructured pruning would
                remove; weights above it count towards L0. A fixed `threshold` goes before it.
            granularity: one with elements of a fixed size.
            axes: the kernel's channel axes.
        """
        threshold = largest_gone if self.threshold is None else np.float32(self.threshold)
        # Counted from the other side, so that what a padded last block lacks is not missing.
        gone = granularity.total(ops.cast(bits(weight) <= bits(threshold), "int32"), axes)
        table = [self.multipliers[i] for i in reversed(range(len(self.multipliers)))]
        factors = ops.take(ops.convert_to_tensor(table, dtype="float32"), gone)
        factors = granularity.expand(self.rate * factors, weight.shape, axes)
        return ops.cast(factors, weight.dtype) * weight

    def get_config(self) -> dict[str, Any]:
        table = {str(k): v for k, v in self.multipliers.items()}
        return {"rate": self.rate, "multipliers": table, "threshold": self.threshold}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SelectiveWeightDecay:
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SelectiveWeightDecay) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((self.rate, tuple(self.multipliers.items()), self.threshold))

    def __repr__(self) -> str:
        return (
            f"SelectiveWeightDecay(rate={self.rate}, multipliers={self.multipliers}, "
            f"threshold={self.threshold})"
        )
