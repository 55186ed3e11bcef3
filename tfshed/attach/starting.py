"""With which masks a group of kernels begins: those of an earlier run on them, or new ones.

An earlier run is continued as long as the weights agree with its masks, that is, as long as they
are exactly zero where the masks removed them. If they are not, somebody set or restored weights
since the last step, and masks that are older or newer than the weights would remove the wrong ones.
Then new masks are made from the weights: a weight that is zero because it was pruned stays zero,
and every other weight is trained.
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
        owners: the last owner of each kernel if an earlier run is continued; otherwise empty.
    """

    masks: list[np.ndarray]
    owners: list[Owner | None]


def check_start(start: Any) -> str:
    """Raises ValueError unless `start` is one of `STARTS`."""
    if not isinstance(start, str) or start not in STARTS:
        raise ValueError(f"start: expected one of {STARTS}, received {start!r}")
    return str(start)


def start_of(
    config: PruningConfig, kernels: Sequence[Kernel], start: str, hold_zeros: bool
) -> Start:
    """Decides with which masks kernels begin.

    Args:
        config: how they are pruned.
        kernels: the kernels of one group.
        start: "auto" continues the earlier run if the weights agree with its masks, "continue"
            does so in any case, and "again" makes new masks in any case.
        hold_zeros: whether every weight that is zero now is held at zero.
    """
    owners = [_owner_before(config, kernel) for kernel in kernels]
    before = [None if o is None else np.asarray(to_numpy(o.state.masks[o.index])) for o in owners]
    known = [(kernel, mask) for kernel, mask in zip(kernels, before) if mask is not None]
    on = goes_on(config, known, start)
    masks = []
    for kernel, mask in zip(kernels, before):
        if not on or mask is None:
            masks.append(new_mask(config, kernel, mask, hold_zeros))
        elif hold_zeros:
            masks.append(np.logical_and(mask, nonzero(config, kernel)))
        else:
            masks.append(mask)
    return Start(masks, owners if on else [])


def goes_on(config: PruningConfig, known: Sequence[tuple[Kernel, np.ndarray]], start: str) -> bool:
    """Whether pruning continues with the masks of an earlier run; the log tells which it is.

    Args:
        config: how the kernels are pruned.
        known: the kernels that were pruned before, with their masks. If there are none, there is
            nothing to continue, and nothing is logged.
        start: see `start_of`.
    """
    # Shadow masks remove nothing, so nothing can tell whether the weights are still theirs.
    off = 0 if config.observe else sum(_count_off(config, kernel, mask) for kernel, mask in known)
    if known and (start == "continue" or (start == "auto" and not off)):
        logger.info("pruning continues with the masks of the run before (%d kernels)", len(known))
        return True
    if known:
        why = f"{off} weights under its masks are not zero" if off else 'start="again"'
        level = logging.WARNING if start == "auto" else logging.INFO
        logger.log(level, "pruning starts again and leaves the run before: %s", why)
    return False


def _owner_before(config: PruningConfig, kernel: Kernel) -> Owner | None:
    """The last owner of a kernel, if its mask has the shape and the meaning of a new one."""
    owner = owner_of(kernel.variable)
    # Shadow masks say nothing about weights that are pruned from now on, nor the other way round.
    if owner is None or owner.state.config.observe != config.observe:
        return None
    if repr(owner.state.config.granularity) != repr(config.granularity):
        return None
    return owner


def _count_off(config: PruningConfig, kernel: Kernel, mask: np.ndarray) -> int:
    """How many weights are not zero although the mask removes them."""
    weight = to_numpy(kernel.variable)
    kept = to_numpy(config.granularity.expand(mask, weight.shape, kernel.axes))
    return int(np.logical_and(~kept, weight != 0).sum())


def nonzero(config: PruningConfig, kernel: Kernel) -> np.ndarray:
    """Which weights (blocks) of a kernel are not zero."""
    weight = to_numpy(kernel.variable)
    return np.asarray(to_numpy(config.granularity.magnitudes(read(weight), kernel.axes)) != 0)


def new_mask(
    config: PruningConfig, kernel: Kernel, before: np.ndarray | None, hold_zeros: bool
) -> np.ndarray:
    """The mask with which a kernel begins, or starts again: bool, True = kept.

    Weights that pruning took are held at zero. Those that are zero for another reason are trained,
    unless `hold_zeros` says otherwise; the log tells how many they are.

    Args:
        config: how the kernel is pruned.
        kernel: the kernel with its weights.
        before: its mask in a run before; None: it had none.
        hold_zeros: whether every weight that is zero now is held at zero.
    """
    all_kept = np.ones(
        config.granularity.mask_shape(tuple(kernel.variable.shape), kernel.axes), bool
    )
    if config.observe or not has_value(kernel.variable):
        return all_kept  # no zero is held, or the kernel is made in the step that is being traced
    present = nonzero(config, kernel)
    if present.all() or hold_zeros:
        return present
    if before is not None and config.monotone:
        # If no kept weight is zero, the weights come from that earlier run, and all their zeros are
        # ones that it pruned. Otherwise they have nothing to do with that run.
        taken = bool(present[before].all())
    else:
        taken = before is None and was_pruned(kernel.variable)
    if taken:
        return present
    zeros = int(present.size - present.sum())
    if not present.any():
        _warn_of_empty(config, kernel)
    logger.info(
        "%s: %d of %d weights (blocks) are zero although pruning did not take them; they are "
        "trained as all others. hold_zeros=True would hold them.",
        kernel.path,
        zeros,
        present.size,
    )
    return all_kept


def _warn_of_empty(config: PruningConfig, kernel: Kernel) -> None:
    if config.threshold > 0:
        warnings.warn(
            f"{kernel.path} is all zeros: every weight lies below the threshold "
            f"{config.threshold} and is shed in the first step unless that step moves it. Leave "
            "the layer out (select=...), or train it first.",
            stacklevel=2,
        )
