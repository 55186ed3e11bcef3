"""In which steps a group sheds, and how much of it the collapse guard leaves: functions of arrays.

Shedding removes weights that fell below the threshold. Large steps may move nearly all weights of a
net below it at once; `collapse_guard` stops that before nothing is left to train.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from tfshed.core.backend import read
from tfshed.core.config import PruningConfig


def least_kept(config: PruningConfig, totals: np.ndarray, target: Any) -> Any:
    """How many elements of each scope shedding must leave: int32 tensor (scopes,), at least 1.

    The least number is `collapse_guard * final keep-ratio * elements`.

    Args:
        config: how the kernels are pruned.
        totals: int64 (scopes,), how many weights (blocks) each scope has.
        target: float32 variable (), the target keep-ratio in force. It stands for the final one
            where the schedule does not say how it ends.
    """
    guard, final = config.collapse_guard, config.final_sparsity
    if final is not None:
        least = np.maximum(np.floor(guard * (1.0 - final) * totals), 1)
        return ops.convert_to_tensor(least.astype("int32"))
    least = guard * read(target) * ops.convert_to_tensor(totals.astype("float32"))
    return ops.maximum(ops.cast(least, "int32"), 1)


def thresholds_of_step(
    config: PruningConfig, step: Any, thresholds: Any, kept: Any, least: Any
) -> Any:
    """The threshold of each scope in one step: 0 where nothing is to be shed in it.

    Args:
        config: how the kernels are pruned.
        step: int32 scalar, the optimizer steps done, this one included.
        thresholds: float32 (scopes,), the thresholds in force.
        kept: int32 (scopes,), how many elements the last update left.
        least: how many elements shedding must leave, from `least_kept`; None without a guard.
    """
    if config.shed_every > 1:
        thresholds = ops.where(step % config.shed_every == 0, thresholds, 0.0)
    if least is not None:
        # A net that came with less than the guard leaves sheds nothing more.
        thresholds = ops.where(kept > least, thresholds, 0.0)
    return thresholds
