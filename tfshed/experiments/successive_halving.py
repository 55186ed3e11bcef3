"""Successive halving: a search that drops worse settings before it spends more seeds on them."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Setting = TypeVar("Setting")


@dataclasses.dataclass(frozen=True)
class Ranked(Generic[Setting]):
    """A setting with its scores.

    Attributes:
        setting: what was tried.
        scores: one for each seed that it was tried with.
    """

    setting: Setting
    scores: list[float]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.scores)


def successive_halving(
    settings: Sequence[Setting],
    score: Callable[[Setting, int], float],
    *,
    rungs: Sequence[Sequence[int]],
    keep: float = 0.5,
) -> list[list[Ranked[Setting]]]:
    """Tries all settings with the seeds of the first rung, and the best of each rung in the next.

    The best of many settings look better than they are, since chance has a part in being the best.
    So confirm what is found with seeds that are in no rung.

    Args:
        settings: at least one.
        score: gives the score of a setting with a seed; a higher one is better.
        rungs: the seeds of each rung. No seed may be in two of them.
        keep: which share of a rung goes on to the next, in (0, 1); at least one does. Default 0.5.

    Returns:
        For each rung the settings that were in it, best first, with the scores of all seeds so far.
        Of equal means the one that was given first is in front.

    Raises:
        ValueError: an argument is not what was expected.

    Source: Jamieson & Talwalkar 2016, "Non-stochastic best arm identification" (arXiv 1502.07943).

    >>> found = successive_halving([1, 5, 3, 2], lambda x, seed: x + seed, rungs=[(0,), (1, 2)])
    >>> [[each.setting for each in rung] for rung in found]
    [[5, 3, 2, 1], [5, 3]]
    >>> found[-1][0].scores
    [5, 6, 7]
    """
    if not settings or not rungs or not all(rungs):
        raise ValueError(
            f"settings, rungs: expected at least one setting and a seed in each rung, received "
            f"{len(settings)} settings and {rungs!r}"
        )
    seeds = [seed for rung in rungs for seed in rung]
    if len({*seeds}) < len(seeds):
        raise ValueError(f"rungs: expected every seed once, received {rungs!r}")
    if not 0.0 < keep < 1.0:
        raise ValueError(f"keep: expected a number in (0, 1), received {keep!r}")
    left = [Ranked(setting, []) for setting in settings]
    found = []
    for number, rung in enumerate(rungs):
        if number:
            left = left[: max(1, round(keep * len(left)))]
        tried = [
            Ranked(each.setting, [*each.scores, *(score(each.setting, seed) for seed in rung)])
            for each in left
        ]
        left = sorted(tried, key=lambda each: -each.mean)
        found.append(left)
    return found
