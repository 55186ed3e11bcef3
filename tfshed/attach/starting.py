"""With which masks a group of kernels begins: those of the run before, or new ones.

Pruning goes on where it was as long as the weights still agree with the masks of the run before:
then they are exactly zero under these. If they are not, somebody set or restored weights since the
last step, and masks that are older or newer than the weights would take the wrong ones. So the
masks follow the weights: what is zero because it was pruned stays so, everything else is trained.
"""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfshed.attach.kernels import Kernel
from tfshed.attach.ownership import Owner, owner_of, was_pruned
from tfshed.core.backend import has_value, read, to_numpy
from tfshed.core.config import PruningConfig

logger = logging.getLogger("tfshed")
STARTS = ("auto", "continue", "again")


@dataclasses.dataclass(frozen=True)
class Start:
    """How a group begins.

    Attributes:
        masks: bool array for each kernel, of the granularity's mask shape; True = kept.
        owners: the last owner of each kernel if pruning goes on with what it knows; else empty.
    """

    masks: list[np.ndarray]
    owners: list[Owner | None]


def check_start(start: Any) -> str:
    """Raises ValueError unless `start` is one of `STARTS`."""
    if start not in STARTS:
        raise ValueError(f"start: expected one of {STARTS}, received {start!r}")
    return str(start)


def start_of(
    config: PruningConfig, kernels: Sequence[Kernel], start: str, hold_zeros: bool
) -> Start:
    """Decides with which masks kernels begin.

    Args:
        config: how they are pruned.
        kernels: the kernels of one group.
        start: "auto": goes on if the weights agree with the masks of the run before. "continue":
            goes on in any case. "again": begins with the weights in any case.
        hold_zeros: whether every weight that is zero now is held at zero.
    """
    owners = [_owner_before(config, kernel) for kernel in kernels]
    off = [0 if o is None else _count_off(k, o) for k, o in zip(kernels, owners)]
    known = [owner for owner in owners if owner is not None]
    goes_on = bool(known) and (start == "continue" or (start == "auto" and not any(off)))
    if goes_on:
        logger.info("pruning goes on with the masks of the run before (%d kernels)", len(known))
    elif known:
        why = f"{sum(off)} weights under its masks are not zero" if any(off) else 'start="again"'
        level = logging.WARNING if start == "auto" else logging.INFO
        logger.log(level, "pruning starts again and leaves the run before: %s", why)
    masks = []
    for kernel, owner in zip(kernels, owners):
        if goes_on and owner is not None:
            mask = np.asarray(to_numpy(owner.state.masks[owner.index]))
            if hold_zeros:
                mask = np.logical_and(mask, nonzero(config, kernel))
        else:
            mask = _new_mask(config, kernel, owner, hold_zeros)
        masks.append(mask)
    return Start(masks, owners if goes_on else [])


def _owner_before(config: PruningConfig, kernel: Kernel) -> Owner | None:
    """The last owner of a kernel, if its mask has the shape and the meaning of a new one."""
    owner = owner_of(kernel.variable)
    if owner is None or repr(owner.state.config.granularity) != repr(config.granularity):
        return None
    return owner


def _count_off(kernel: Kernel, owner: Owner) -> int:
    mask = to_numpy(owner.mask(kernel.variable, kernel.axes))
    return int(np.logical_and(~mask, to_numpy(kernel.variable) != 0).sum())


def nonzero(config: PruningConfig, kernel: Kernel) -> np.ndarray:
    """Which weights (blocks) of a kernel are not zero."""
    weight = to_numpy(kernel.variable)
    return np.asarray(to_numpy(config.granularity.magnitudes(read(weight), kernel.axes)) != 0)


def _new_mask(
    config: PruningConfig, kernel: Kernel, owner: Owner | None, hold_zeros: bool
) -> np.ndarray:
    everything = np.ones(
        config.granularity.mask_shape(tuple(kernel.variable.shape), kernel.axes), bool
    )
    if not has_value(kernel.variable):
        return everything  # it is made in the step that is being traced
    there = nonzero(config, kernel)
    if there.all() or hold_zeros:
        return there
    if owner is not None and config.monotone:
        # Weights from earlier in the run before: every zero in them is one that it pruned, and
        # what it kept is there. Otherwise the weights have nothing to do with that run.
        taken = bool(there[np.asarray(to_numpy(owner.state.masks[owner.index]))].all())
    else:
        taken = owner is None and was_pruned(kernel.variable)
    if taken:
        return there
    zeros = int(there.size - there.sum())
    if not there.any():
        _warn_of_nothing(config, kernel)
    logger.info(
        "%s: %d of %d weights (blocks) are zero although pruning did not take them; they are "
        "trained as all others. hold_zeros=True would hold them.",
        kernel.path,
        zeros,
        there.size,
    )
    return everything


def mask_of_zeros(config: PruningConfig, kernel: Kernel) -> np.ndarray:
    """The mask that takes every zero for a pruned weight, but not a kernel of nothing but zeros."""
    there = nonzero(config, kernel)
    if there.any():
        return there
    _warn_of_nothing(config, kernel)
    return np.ones_like(there)


def _warn_of_nothing(config: PruningConfig, kernel: Kernel) -> None:
    if config.threshold > 0:
        warnings.warn(
            f"{kernel.path} is all zeros: every weight lies below the threshold "
            f"{config.threshold} and is shed in the first step unless that step moves it. Leave "
            "the layer out (select=...), or train it first.",
            stacklevel=2,
        )
