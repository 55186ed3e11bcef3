"""Verdicts on a claim from one number for each seed; the rules are fixed before any run."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence

HOLDS, DOES_NOT, NOT_DECIDED = "holds", "does not hold", "not decided"
# A claim of a difference holds at another scale if the difference has at least this share of the
# paper's size. The paper's net and data are much larger; less than this would be another effect.
SHARE = 0.25
# The 97.5 % points of Student's t with 1, 2, ... degrees of freedom; beyond the last, its value.
T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % interval.

    Attributes:
        values: One for each seed.
        mean: Of the values.
        half: Half the width of the interval, infinite with one seed.
    """

    values: tuple[float, ...]
    mean: float
    half: float

    @property
    def low(self) -> float:
        """The lower end of the interval."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """The upper end of the interval."""
        return self.mean + self.half

    def __str__(self) -> str:
        width = "" if math.isinf(self.half) else f" +- {self.half:.3f}"
        return f"{self.mean:.3f}{width}"


def estimate(values: Sequence[float], finest: float = 0.0) -> Estimate:
    """The mean and its interval by Student's t.

    Args:
        values: One for each seed.
        finest: Half the interval is never less than this, such as the weight of one test image.

    >>> print(estimate([0.10, 0.12, 0.14]))
    0.120 +- 0.050
    >>> estimate([0.1]).half
    inf
    """
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Estimate(tuple(values), mean, math.inf)
    t = T[min(len(values) - 2, len(T) - 1)]
    half = t * statistics.stdev(values) / math.sqrt(len(values))
    return Estimate(tuple(values), mean, max(half, finest))


@dataclasses.dataclass(frozen=True)
class AtLeast:
    """The number is a difference that the claim says is positive.

    It holds if the mean is at least `least` and the whole interval is above 0. It does not if the
    whole interval is below `least`.

    >>> rule = AtLeast(0.04)
    >>> [rule(Estimate((), mean, 0.03)) for mean in (0.1, 0.04, 0.02, 0.0)]
    ['holds', 'holds', 'not decided', 'does not hold']
    """

    least: float

    def __call__(self, found: Estimate) -> str:
        if found.mean >= self.least and found.low > 0:
            return HOLDS
        return DOES_NOT if found.high < self.least else NOT_DECIDED

    def __str__(self) -> str:
        return f"at least {self.least:g}, and the interval above 0"


@dataclasses.dataclass(frozen=True)
class AtMost:
    """The number is one that the claim says is small.

    It holds if the whole interval is at or below `most`, and does not if it is above.

    >>> rule = AtMost(0.02)
    >>> [rule(Estimate((), mean, 0.01)) for mean in (0.005, 0.02, 0.05)]
    ['holds', 'not decided', 'does not hold']
    """

    most: float

    def __call__(self, found: Estimate) -> str:
        if found.high <= self.most:
            return HOLDS
        return DOES_NOT if found.low > self.most else NOT_DECIDED

    def __str__(self) -> str:
        return f"the interval at or below {self.most:g}"


@dataclasses.dataclass(frozen=True)
class Between:
    """The number is said to be about some value.

    It holds if the whole interval lies between the limits, and does not if it lies outside.

    >>> rule = Between(0.3, 0.5)
    >>> [rule(Estimate((), mean, 0.05)) for mean in (0.4, 0.3, 0.7)]
    ['holds', 'not decided', 'does not hold']
    """

    lowest: float
    highest: float

    def __call__(self, found: Estimate) -> str:
        if found.low >= self.lowest and found.high <= self.highest:
            return HOLDS
        outside = found.low > self.highest or found.high < self.lowest
        return DOES_NOT if outside else NOT_DECIDED

    def __str__(self) -> str:
        return f"the interval between {self.lowest:g} and {self.highest:g}"


Rule = AtLeast | AtMost | Between


def together(verdicts: Sequence[str]) -> str:
    """The verdict on a claim of several parts: it holds if all do, and not if one does not.

    >>> together([HOLDS, HOLDS]), together([HOLDS, NOT_DECIDED]), together([NOT_DECIDED, DOES_NOT])
    ('holds', 'not decided', 'does not hold')
    """
    if DOES_NOT in verdicts:
        return DOES_NOT
    return NOT_DECIDED if NOT_DECIDED in verdicts else HOLDS
