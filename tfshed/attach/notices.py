"""The warnings and errors about pruning during training: the same words for both Keras.

Each function makes a text, or returns None where there is nothing to tell. The functions look at
the numbers of a pruning group and know nothing of layers, models or optimizers.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from tfshed.core.backend import to_numpy

# Users are warned when the keep-ratio falls below this fraction of the final target.
BELOW_TARGET = 0.95


class UnfinishedPruning(UserWarning):
    """Training ends before the schedule has come to its final sparsity."""


class WarnOnce:
    """Warns of each thing once, however often it is found.

    >>> import warnings
    >>> warn = WarnOnce()
    >>> with warnings.catch_warnings(record=True) as found:
    ...     warnings.simplefilter("always")
    ...     warn("head/kernel", "nothing is left of head/kernel")
    ...     warn("head/kernel", "nothing is left of head/kernel")
    >>> len(found)
    1
    """

    def __init__(self) -> None:
        self._told: set[str] = set()

    def __call__(self, what: str, text: str, category: type[Warning] = UserWarning) -> None:
        """Warns with a text, unless this was called with the same `what` before."""
        if what not in self._told:
            self._told.add(what)
            warnings.warn(text, category, stacklevel=3)


def about_masks(group: Any) -> Iterator[tuple[str, str]]:
    """The warnings about a group's masks at the end of an epoch.

    Args:
        group: a `PruningGroup` with its state.

    Returns:
        Pairs of a key and a text. The key tells one warning from another, so that each is given
        once. There are warnings that the keep-ratio is below 0.95 of its final target, that
        shedding was held back, that the schedule gave no usable sparsity, and that a kernel is
        empty. The first and the last are left out for shadow masks, which take nothing.
    """
    kept = [int(to_numpy(mask).sum()) for mask in group.masks]
    keep_ratio, final = sum(kept) / int(group.totals.sum()), group.config.final_sparsity
    # N:M and balanced pruning can reach only some keep-ratios.
    target = 1.0 if final is None else group.config.granularity.keep_ratio(1.0 - final)
    observe = group.config.observe
    if final is not None and keep_ratio < BELOW_TARGET * target and group.sheds and not observe:
        yield (
            "below",
            f"the net has shed itself below its final target: keep-ratio {keep_ratio:.4f}, target "
            f"{target:.4f}. A lower learning rate or momentum, or grow_threshold=False, sheds "
            "less.",
        )
    for problem in group.problems():
        yield problem, problem
    for kernel, count in zip(group.kernels, kept):
        if count == 0 and not observe:
            yield kernel.path, f"nothing is left of {kernel.path}: all its weights are pruned"


def about_schedule(group: Any) -> str | None:
    """The warning at the end of training that the schedule is not at its end; None if it is.

    Args:
        group: a `PruningGroup` with its state.
    """
    config = group.config
    final, reached = config.final_sparsity, 1.0 - float(to_numpy(group.target))
    if final is None or reached >= final - 1e-6:
        return None
    kind = config.granularity
    # Both sparsities may come to the same whole number of weights.
    same = kind.keep_ratio(1.0 - reached) == kind.keep_ratio(1.0 - final)
    if reached > 0.0 and (same or not kind.follows_schedule):
        return None
    step, end = int(to_numpy(group.step)), getattr(config.schedule, "end_step", None)
    where = "" if not isinstance(end, int) or end < 0 else f" in step {end}"
    if reached <= 0.0:
        done = f"in its {step} steps no pruning update was due, so nothing is pruned"
    else:
        done = f"after {step} steps the target is a sparsity of {reached:.4f}"
    return (
        f"training ended before the pruning schedule: {done}, and the schedule ends{where} at "
        f"{final:.4f}. Train longer, or give the schedule an earlier end_step or begin_step."
    )


def ends_too_early(group: Any, last_step: int) -> str | None:
    """The warning at the start of training that it will end before the schedule; None if not.

    Args:
        group: a `PruningGroup`.
        last_step: the optimizer step in which training ends at the latest.
    """
    final, end = group.config.final_sparsity, getattr(group.config.schedule, "end_step", -1)
    if final is None or last_step >= end:
        return None
    return (
        f"training will end before the pruning schedule: this fit ends in step {last_step} or "
        f"before, and the schedule ends in step {end} at {final:.4f}. Train for more steps, or "
        "give the schedule an earlier end_step. If more training follows, nothing is wrong."
    )


def nothing_was_pruned(model_name: str) -> str:
    """The warning where a model is stripped that only had shadow masks.

    Args:
        model_name: the model's name.
    """
    return (
        f"strip_pruning: nothing was pruned in {model_name}, which was declared with observe=True: "
        "its weights are those of training without pruning. To prune, declare it with "
        "observe=False and train it, or call tfshed.sparsify."
    )


def not_stepped(model_name: str, remedy: str) -> str:
    """The error where a model was trained, but not by the optimizer that prunes it.

    Args:
        model_name: the model's name.
        remedy: a sentence that says what to do on this Keras.
    """
    return (
        f"{model_name} was trained in this epoch, but the optimizer that prunes it took no step, "
        "so nothing was pruned: expected its weights to be updated by that optimizer, found that "
        "another one updates them (one of its own in train_step, or in a custom loop). "
        f"{remedy}"
    )


def not_zero_under_masks(paths: Sequence[str], remedy: str) -> str:
    """The error where weights that were pruned are not zero any more.

    Args:
        paths: the kernels that hold such weights.
        remedy: a sentence that says what to do here.
    """
    return (
        f"expected zeros where weights were pruned, found others in {list(paths)}: they were set, "
        f"loaded or trained without the optimizer that prunes them. {remedy}"
    )
