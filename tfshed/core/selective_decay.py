"""Selective weight decay: the decay of a block depends on how many of its weights are large."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from tfshed.core.arguments import is_number
from tfshed.core.backend import bits
from tfshed.core.granularity import Axes, Granularity

DEFAULT_MULTIPLIERS = {0: 0.0, 1: 4.0, 2: 2.0, 3: 1.0, 4: 0.0}


@keras.saving.register_keras_serializable(package="tfshed")
class SelectiveWeightDecay:
    """L2 decay that depends on how many weights of a block unstructured pruning would keep.

    Every weight w of a block gets this added to its gradient:

        rate * multipliers[L0] * w

    L0 is the number of weights in the block whose magnitude is above a threshold. The threshold is
    the largest magnitude that unstructured pruning would remove at the current target sparsity of
    the scope, or a fixed number. If the last block of a kernel is padded, the missing weights count
    as kept.

    Args:
        rate: The rate of the decay, >= 0. Default 1e-4.
        multipliers: A mapping from every L0 from 0 to the size of a block to a factor >= 0. Default
            {0: 0, 1: 4, 2: 2, 3: 1, 4: 0}, for blocks of 4 weights.
        threshold: A fixed magnitude > 0; the paper calls weights below 6e-3 degenerate. Default
            None: the magnitude described above.

    Raises:
        ValueError: An argument is wrong. The error names it.

    >>> decay = SelectiveWeightDecay(rate=5e-4, multipliers={0: 0, 1: 2, 2: 0}, threshold=6e-3)
    >>> decay.check(block_size=2)
    >>> decay.multipliers
    {0: 0.0, 1: 2.0, 2: 0.0}

    Source: section 3.3 of Azarian & Porikli 2021 (arXiv 2103.10629).
    """

    def __init__(
        self,
        rate: float = 1e-4,
        multipliers: Mapping[int, float] | None = None,
        threshold: float | None = None,
    ):
        if not is_number(rate) or rate < 0:
            raise ValueError(f"rate: expected a finite number >= 0, received {rate!r}")
        table = _table(DEFAULT_MULTIPLIERS if multipliers is None else multipliers)
        if threshold is not None:
            if not is_number(threshold) or threshold <= 0:
                raise ValueError(
                    f"threshold: expected None or a number > 0, received {threshold!r}"
                )
            threshold = float(threshold)
        self.rate, self.multipliers, self.threshold = float(rate), table, threshold

    def check(self, block_size: int) -> None:
        """Raises ValueError unless there is a multiplier for each L0 of blocks of this size."""
        if len(self.multipliers) != block_size + 1:
            raise ValueError(
                f"weight_decay multipliers: expected L0 = 0 ... {block_size} for blocks of "
                f"{block_size} weights, received {sorted(self.multipliers)}"
            )

    def gradient(
        self, weight: Any, largest_pruned: Any, granularity: Granularity, axes: Axes
    ) -> Any:
        """Returns what to add to the gradient of `weight`, in its shape and dtype.

        Args:
            weight: The kernel.
            largest_pruned: float32 scalar, the largest magnitude that unstructured pruning would
                remove. Weights above it count towards L0. It is ignored if a fixed `threshold` was
                given.
            granularity: A granularity whose elements have a fixed size.
            axes: The kernel's channel axes.
        """
        threshold = largest_pruned if self.threshold is None else np.float32(self.threshold)
        # The removed weights are counted, not the kept ones, so that the weights which a padded
        # block lacks count as kept.
        small = granularity.total(ops.cast(bits(weight) <= bits(threshold), "int32"), axes)
        table = [self.multipliers[i] for i in reversed(range(len(self.multipliers)))]
        factors = ops.take(ops.convert_to_tensor(table, dtype="float32"), small)
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


def _table(multipliers: Any) -> dict[int, float]:
    """The factors by L0, in order; ValueError unless there is one for every L0 from 0 on."""
    given = multipliers if isinstance(multipliers, Mapping) else {}
    # JSON turns the keys into text.
    table = {int(k) if isinstance(k, str) and k.isdecimal() else k: v for k, v in given.items()}
    wrong = any(isinstance(k, bool) or not isinstance(k, (int, np.integer)) for k in table)
    if not table or wrong or sorted(table) != list(range(len(table))):
        raise ValueError(
            "multipliers: expected a mapping with a factor >= 0 for every L0 from 0 to the block's "
            f"size, received {multipliers!r}"
        )
    for number, factor in table.items():
        if not is_number(factor) or factor < 0:
            raise ValueError(
                f"multipliers: expected factors >= 0, received {factor!r} for L0 = {number}"
            )
    return {int(number): float(factor) for number, factor in table.items()}
