"""The base of schedules that go from one sparsity to another between two steps."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

from tfshed.core.arguments import check_number, check_whole
from tfshed.core.schedules.base import PruningSchedule
from tfshed.core.schedules.step import Ops, close, open_step


def frequency_in_steps(value: Any, steps_per_epoch: Any) -> int:
    """Returns the steps between two updates, from a number of steps or a fraction of an epoch."""
    number = check_number("frequency", value)
    if number == 1 and not isinstance(number, int):
        raise ValueError(
            "expected frequency to be an integer >= 1 (steps) or a float in (0, 1) (fraction of an "
            f"epoch), received {value!r}, which could be either: write 1 for every step, or "
            "steps_per_epoch for every epoch"
        )
    if isinstance(number, int) or number > 1:
        return check_whole("frequency", number, 1)
    if number <= 0:
        raise ValueError(
            "expected frequency to be an integer >= 1 (steps) or a float in (0, 1) (fraction of an "
            f"epoch), received {value!r}"
        )
    if steps_per_epoch is None:
        raise ValueError(
            "expected steps_per_epoch with a frequency that is a fraction of an epoch, received "
            f"frequency={value!r} and steps_per_epoch=None"
        )
    return max(1, round(number * check_whole("steps_per_epoch", steps_per_epoch, 1)))


class Ramp(PruningSchedule):
    """A schedule that goes from `initial_sparsity` to `final_sparsity` between two steps."""

    snap_final: bool = True
    _endless: ClassVar[bool] = False
    _least_span: ClassVar[int] = 0

    def _set(
        self, initial: Any, final: Any, begin: Any, end: Any, frequency: Any, steps_per_epoch: Any
    ) -> None:
        self._validate_sparsity(initial, "initial_sparsity")
        self._validate_sparsity(final, "final_sparsity")
        if initial > final:
            raise ValueError(
                f"expected initial_sparsity <= final_sparsity={final!r}, as pruned weights stay "
                f"pruned, received {initial!r}"
            )
        self.initial_sparsity, self.final_sparsity = float(initial), float(final)
        self.frequency = frequency_in_steps(frequency, steps_per_epoch)
        self._validate_step(begin, end, self.frequency, self._endless)
        self.begin_step, self.end_step = int(begin), int(end)
        if self._span < self._least_span:
            raise ValueError(f"expected end_step > begin_step={begin!r}, received {end!r}")

    @property
    def _span(self) -> int:
        # A schedule without end spans the largest int32, which is longer than any run. JAX has no
        # larger integers by default.
        return 2**31 - 1 if self.end_step == -1 else self.end_step - self.begin_step

    def __call__(self, step: Any) -> tuple[Any, Any]:
        ops, step = open_step(step)
        # Steps are subtracted as integers, since float32 cannot distinguish step 2**24 from the
        # next one.
        elapsed = step - self.begin_step
        # The formulas would overflow outside of their range, so the time is clipped.
        sparsity = self._sparsity(ops, ops.clip(elapsed, 0, self._span))
        if self.snap_final:
            sparsity = ops.where(elapsed >= self._span, self.final_sparsity, sparsity)
        sparsity = ops.where(elapsed < 0, self.initial_sparsity, sparsity)
        return close(self._due(elapsed)), close(ops.real(sparsity))

    def _due(self, elapsed: Any) -> Any:
        return self._should_prune_in_step(elapsed, 0, self._span, self.frequency)

    def _sparsity(self, ops: Ops, elapsed: Any) -> Any:
        """Returns the sparsity as a float, `elapsed` steps after `begin_step`."""
        return self._left(0.0 * ops.real(elapsed))

    def _left(self, fraction: Any) -> Any:
        """Returns the sparsity when `fraction` of the way to the final one remains."""
        return self.final_sparsity + (self.initial_sparsity - self.final_sparsity) * fraction

    def _linear(self, ops: Ops, elapsed: Any) -> Any:
        """Returns the fraction of the way that remains at constant speed, exactly from 1 to 0."""
        return ops.real(self._span - elapsed) / max(self._span, 1)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, with the frequency in steps."""
        names = list(inspect.signature(type(self)).parameters)
        # With the frequency in steps, steps_per_epoch is needed by schedules whose formula has it.
        if not hasattr(self, "steps_per_epoch"):
            names = [name for name in names if name != "steps_per_epoch"]
        return {name: getattr(self, name) for name in names}
