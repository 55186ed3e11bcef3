"""The variables in which a wrapper keeps the pruning state of one kernel."""

from __future__ import annotations

from typing import Any, NamedTuple

from tfshed.attach.kernels import Kernel


class KernelState(NamedTuple):
    """The variables of one kernel. Except for the mask, kernels of a scope hold the same numbers.

    Attributes:
        mask: bool, of the granularity's mask shape; True = kept.
        threshold: float32, below which weights are shed.
        counts: int32 (3,): how many weights (blocks) were kept at the last update, and how many
            the schedule pruned and were found shed since the start.
        survives_above: float32, see `decay_threshold` of `tfshed.core.engine.Totals`.
        criterion: what the criterion keeps, by name: float32, of the mask's shape.
    """

    mask: Any
    threshold: Any
    counts: Any
    survives_above: Any
    criterion: dict[str, Any]


class Member(NamedTuple):
    """A kernel of a pruning group, its variables, and the wrapper that has both."""

    kernel: Kernel
    state: KernelState
    wrapper: Any
