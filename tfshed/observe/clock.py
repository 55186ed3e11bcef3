"""Counts optimizer steps on the host, so that the device is read only when an update may be due."""

from __future__ import annotations

from collections.abc import Callable


class Clock:
    """Estimates the optimizer step from batches, and remembers which updates are still to come.

    A step is a whole optimizer update; with gradient accumulation it takes several batches, and
    the pruning update belongs to the first of them. The estimate is an upper bound that is put
    right at every `sync`: batches that a loss scale skips are no steps.

    >>> clock = Clock(due=lambda step: step % 4 == 0)
    >>> clock.sync(applied=0, batches=0)
    >>> [batch for batch in range(1, 9) if clock.expects(batch)]  # until somebody looks
    [4, 5, 6, 7, 8]
    >>> clock.sync(applied=3, batches=4)  # one was skipped
    >>> clock.expects(4), clock.expects(5)
    (False, True)
    >>> clock.sync(applied=4, batches=5)
    >>> clock.take(), clock.take()
    ([4], [])
    """

    def __init__(self, due: Callable[[int], bool], accumulate: int = 1):
        self._due, self._accumulate = due, accumulate
        self._applied = self._batches = self._scanned = 0
        self._coming: list[int] = []

    def restart(self, applied: int) -> None:
        """Begins anew at a known state, before the first batch of an epoch."""
        self.sync(applied, 0)
        self._scanned, self._coming = self.step, []

    def sync(self, applied: int, batches: int) -> None:
        """Takes what was read from the optimizer: batches applied in all, when so many were run."""
        self._applied, self._batches = applied, batches

    @property
    def step(self) -> int:
        """Optimizer steps at the last sync, one that has begun included."""
        return -(-self._applied // self._accumulate)

    def expects(self, batches: int) -> bool:
        """Whether an update may have happened, now that so many batches of the epoch were run."""
        reached = -(-(self._applied + batches - self._batches) // self._accumulate)
        self._scan(reached)
        return bool(self._coming) and self._coming[0] <= reached

    def take(self) -> list[int]:
        """The steps of updates up to the last sync that were not taken before."""
        self._scan(self.step)
        done = [s for s in self._coming if s <= self.step]
        self._coming = self._coming[len(done) :]
        return done

    def _scan(self, reached: int) -> None:
        self._coming += [s for s in range(self._scanned + 1, reached + 1) if self._due(s)]
        self._scanned = max(self._scanned, reached)
