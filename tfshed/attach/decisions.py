"""Decides for every kernel of a model whether it is pruned, and says why not."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfshed.attach.heads import heads
from tfshed.attach.kernels import Candidate, Kernel, candidates
from tfshed.attach.ownership import was_pruned
from tfshed.attach.rules import Selection
from tfshed.core.backend import to_numpy
from tfshed.core.config import PruningConfig
from tfshed.core.counting import check_totals
from tfshed.core.granularity import Filter


@dataclasses.dataclass(frozen=True, eq=False)
class Decision:
    """What becomes of one kernel.

    Attributes:
        candidate: The kernel and the layer that made it.
        pruned: Whether it is declared to be pruned. A frozen kernel is pruned as soon as it is
            trained.
        reason: Why it is not pruned; empty if it is.
        by_policy: Whether the user's `PruningPolicy` is the reason.
    """

    candidate: Candidate
    pruned: bool
    reason: str
    by_policy: bool = False

    @property
    def kernel(self) -> Kernel:
        return self.candidate.kernel

    @property
    def path(self) -> str:
        return self.kernel.path

    @property
    def layer(self) -> str:
        """The class of the layer that made the kernel."""
        return type(self.candidate.owner).__name__

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.kernel.variable.shape)


def decide(
    layer: Any, config: PruningConfig, selection: Selection, explicit: bool = False
) -> list[Decision]:
    """Decides about every kernel of a layer or model, in the order of `candidates`.

    Args:
        layer: a layer or model of Keras 3 or tf_keras.
        config: how to prune; a granularity does not fit every kernel.
        selection: the user's rules and policy.
        explicit: whether the user named the layer, by wrapping it, so that embeddings and depthwise
            kernels are not left out.
    """
    found = candidates(layer)
    if isinstance(config.granularity, Filter):
        found = _without_heads(layer, found)
    return [_decide(each, config, selection, explicit) for each in found]


def _without_heads(model: Any, found: list[Candidate]) -> list[Candidate]:
    """The candidates, of which those of the heads are off by default: their filters are classes."""
    inside = {id(c.kernel.variable) for head in heads(model) for c in candidates(head)}
    why = "makes the model's outputs"
    return [
        dataclasses.replace(c, off_by_default=c.off_by_default or why)
        if id(c.kernel.variable) in inside
        else c
        for c in found
    ]


def _decide(
    candidate: Candidate, config: PruningConfig, selection: Selection, explicit: bool
) -> Decision:
    policy, reason = selection.policy, _reason_to_skip(candidate, config)
    forbidden = policy is not None and not policy.allow_pruning(candidate.owner)
    if forbidden:
        reason = f"pruning policy {type(policy).__name__}"
    # The rules decide in any case, so that a pattern for a frozen layer counts as used.
    wanted, why = selection.decide(candidate, explicit)
    if reason or not wanted:
        return Decision(candidate, False, reason or why, forbidden)
    return Decision(candidate, True, "")


def _reason_to_skip(candidate: Candidate, config: PruningConfig) -> str:
    variable, axes = candidate.kernel.variable, candidate.kernel.axes
    dtype = keras.backend.standardize_dtype(variable.dtype)
    if not keras.backend.is_float_dtype(dtype):
        return f"dtype {dtype}: only floating weights are pruned"
    if candidate.is_state:
        return "not trainable: its layer made it so"
    return config.granularity.reason_to_skip(tuple(variable.shape), axes) or ""


def declared_kernels(decisions: Sequence[Decision]) -> list[Kernel]:
    """The kernels that are to be pruned, frozen ones too, since they may be thawed later."""
    return [d.kernel for d in decisions if d.pruned]


def pruned_kernels(decisions: Sequence[Decision]) -> list[Kernel]:
    """The kernels that are to be pruned and are trained now."""
    return [d.kernel for d in decisions if d.pruned and not d.candidate.frozen]


def check_some(model: Any, decisions: Sequence[Decision]) -> None:
    """Says why, if nothing of a model is to be pruned.

    Raises:
        ValueError: rules or the granularity leave nothing.

    Warns:
        UserWarning: there are no kernels, or a policy leaves none; tfmot does nothing then.
    """
    if any(d.pruned for d in decisions):
        return
    if all(d.by_policy for d in decisions):
        warn_nothing(model.name, decisions)
        return
    left = "; ".join(f"{d.path}: {d.reason}" for d in decisions)
    raise ValueError(f"model: expected a kernel to prune in {model.name}, found none: {left}")


def warn_declared(names: list[str], advice: str) -> None:
    """Says that an earlier declaration counts, as it does with tfmot, and how to declare anew."""
    warnings.warn(
        f"to_prune: {names} was declared by prune_low_magnitude before, and that declaration still "
        f"holds; the new one is ignored. {advice} to prune it in another way.",
        stacklevel=5,
    )


def warn_nothing(name: str, decisions: Sequence[Decision]) -> None:
    """Says that nothing of a layer or model is to be pruned, and why."""
    left = "; ".join(f"{d.path}: {d.reason}" for d in decisions) or "it has no kernels"
    warnings.warn(f"nothing of {name} is to be pruned: {left}", stacklevel=5)


def check_trained(model: Any, decisions: Sequence[Decision]) -> None:
    """Raises ValueError if all that is to be pruned is frozen."""
    if not pruned_kernels(decisions):
        frozen = [d.path for d in decisions if d.pruned]
        found = f"only frozen ones: {frozen}. Set layer.trainable = True." if frozen else "none"
        raise ValueError(
            f"model: expected a trainable kernel to prune in {model.name}, found {found}"
        )


def check_countable(decisions: Sequence[Decision], config: PruningConfig) -> None:
    """Raises ValueError if a scope of what is to be pruned has more elements than int32 counts."""
    sizes = [
        math.prod(config.granularity.mask_shape(tuple(d.kernel.variable.shape), d.kernel.axes))
        for d in decisions
        if d.pruned
    ]
    if sizes:
        totals = [sum(sizes)] if config.scope == "global" else sizes
        check_totals(totals, config.granularity)


def check_finite(decisions: Sequence[Decision]) -> None:
    """Raises ValueError if a kernel that is to be pruned holds NaN or infinity."""
    bad = [
        d.path
        for d in decisions
        if d.pruned and not np.isfinite(to_numpy(d.kernel.variable).astype("float32")).all()
    ]
    if bad:
        raise ValueError(f"to_prune: expected finite weights, received NaN or infinity in {bad}")


def check_unpruned(decisions: Sequence[Decision], config: PruningConfig) -> None:
    """Raises ValueError if kernels are to be observed whose zeros pruning has made before.

    With `observe=True` no zero is held, so training would fill them.
    """
    if not config.observe:
        return
    sparse = [
        d.path
        for d in decisions
        if d.pruned and was_pruned(d.kernel.variable) and not to_numpy(d.kernel.variable).all()
    ]
    if sparse:
        raise ValueError(
            "observe: expected kernels that were never pruned, since observe=True holds no weight "
            f"at zero and training would fill the zeros that pruning has made, received {sparse}. "
            "Observe a dense model, or prune these with observe=False."
        )
