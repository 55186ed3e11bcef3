"""The paper's exponential schedules, in one piece and in cycles."""

from __future__ import annotations

import math
from typing import Any

import keras

from tfshed.core.arguments import check_number, check_whole
from tfshed.core.schedules.base import register
from tfshed.core.schedules.ramp import Ramp
from tfshed.core.schedules.step import Ops, open_step


@register("exponential")
@keras.saving.register_keras_serializable(package="tfshed")
class ExponentialDecay(Ramp):
    """Exponential fall of the keep-ratio. Azarian & Porikli 2021 (arXiv 2103.10629), eq. 4.

    r = R_f + (1 - R_f) exp(-t / tau), with R_f = 1 - final_sparsity and t = step - begin_step, so
    that the normalised rate of pruning is the constant -1 / tau.

    Args:
        final_sparsity: 1 - R_f, in [0, 1).
        time_constant: tau in steps, > 0: epochs * steps_per_epoch.
        end_step: Last update, in steps, > begin_step.
        begin_step: First update, in steps.
        initial_sparsity: Sparsity up to `begin_step`, in [0, final_sparsity].
        frequency: Steps between updates, or a float in (0, 1), a fraction of `steps_per_epoch`.
        snap_final: Whether the value from `end_step` on is exactly `final_sparsity`; if not, it
            keeps eq. 4's residue (1 - R_f) exp(-T / tau).

    Raises:
        ValueError: If an argument is out of its range.

    >>> schedule = ExponentialDecay(final_sparsity=0.85, time_constant=3 * 100, end_step=35 * 100)
    >>> [round(schedule.keep_ratio(100 * epoch), 3) for epoch in (0, 1, 2, 3, 5, 10, 35)]
    [1.0, 0.759, 0.586, 0.463, 0.311, 0.18, 0.15]
    """

    _least_span = 1

    def __init__(
        self,
        final_sparsity: float,
        time_constant: float,
        end_step: int,
        begin_step: int = 0,
        initial_sparsity: float = 0.0,
        frequency: float = 100,
        snap_final: bool = True,
        *,
        steps_per_epoch: int | None = None,
    ) -> None:
        self._set(
            initial_sparsity, final_sparsity, begin_step, end_step, frequency, steps_per_epoch
        )
        self.time_constant = check_number("time_constant", time_constant, positive=True)
        self.snap_final = bool(snap_final)

    def _sparsity(self, ops: Ops, elapsed: Any) -> Any:
        return self._left(ops.exp(-self._clock(ops, elapsed) / self.time_constant))

    def _clock(self, ops: Ops, elapsed: Any) -> Any:
        """Returns t of the formula, in steps."""
        return ops.real(elapsed)


@register("cyclic")
@keras.saving.register_keras_serializable(package="tfshed")
class CyclicExponentialDecay(ExponentialDecay):
    """ExponentialDecay that moves only at the start, the gate, of each cycle of epochs.

    Azarian & Porikli 2021 (arXiv 2103.10629), section 3.1: with a cyclic learning rate the target
    "is only updated during the first two epochs in each cycle", while the rate is high. The text
    leaves open by how much. With C = cycle_epochs, G = gate_epochs, c = floor(t / C) and
    g = min(t mod C, G), all in epochs since `begin_step`, eq. 4 is taken at the time

    * "freeze": G c + g, the clock stands still outside of the gate;
    * "hold": C c + g, eq. 4 itself in the gate, held after it, a jump at the start of a cycle;
    * "stretch": C c + (C / G) g, faster in the gate, so that it meets eq. 4 at each cycle's end.

    Updates are due in the gate only, always at its last step, whose value holds until the next
    cycle. The last gate is the one of the last cycle that begins before `end_step`. The schedule
    is finished where the last gate closes, and nothing is pruned after it, when the learning rate
    is low.

    Eq. 4 has a residue there, (1 - R_f) exp(-T / tau) with T the time at which the last gate
    closes. With `snap_final` this residue falls away in equal parts over the last gate, so that
    the gate closes at exactly `final_sparsity`. The gates before it have the values of eq. 4.

    Args:
        final_sparsity, time_constant: As in ExponentialDecay.
        end_step: No cycle begins at this step or later, in steps, > begin_step.
        steps_per_epoch: Optimizer updates in an epoch.
        cycle_epochs: C, > 0, not necessarily whole.
        gate_epochs: G, in (0, cycle_epochs].
        mode: "freeze", "hold" or "stretch".
        begin_step: First update and start of the first cycle, in steps.
        initial_sparsity, frequency: As in ExponentialDecay.
        snap_final: Whether the last gate closes at exactly `final_sparsity`; if not, it keeps the
            residue.

    Raises:
        ValueError: If an argument is out of its range.

    >>> schedule = CyclicExponentialDecay(0.85, 3 * 100, 35 * 100, steps_per_epoch=100)
    >>> [round(schedule.keep_ratio(100 * epoch), 3) for epoch in (1, 2, 7, 8, 9, 29, 30, 35)]
    [0.759, 0.586, 0.586, 0.463, 0.374, 0.177, 0.15, 0.15]
    """

    def __init__(
        self,
        final_sparsity: float,
        time_constant: float,
        end_step: int,
        steps_per_epoch: int,
        cycle_epochs: float = 7,
        gate_epochs: float = 2,
        mode: str = "freeze",
        begin_step: int = 0,
        initial_sparsity: float = 0.0,
        frequency: float = 100,
        snap_final: bool = True,
    ) -> None:
        self.steps_per_epoch = check_whole("steps_per_epoch", steps_per_epoch, 1)
        self.cycle_epochs = check_number("cycle_epochs", cycle_epochs, positive=True)
        self.gate_epochs = check_number("gate_epochs", gate_epochs, positive=True)
        if self.gate_epochs > self.cycle_epochs:
            raise ValueError(
                f"expected gate_epochs <= cycle_epochs={cycle_epochs!r}, received {gate_epochs!r}"
            )
        if mode not in ("freeze", "hold", "stretch"):
            raise ValueError(
                f'expected mode to be "freeze", "hold" or "stretch", received {mode!r}'
            )
        self.mode = mode
        self._cycle, self._gate = (
            max(1, round(epochs * self.steps_per_epoch)) for epochs in (cycle_epochs, gate_epochs)
        )
        super().__init__(
            final_sparsity,
            time_constant,
            end_step,
            begin_step,
            initial_sparsity,
            frequency,
            snap_final,
            steps_per_epoch=steps_per_epoch,
        )

    @property
    def _last_gate(self) -> int:
        """The step, counted from `begin_step`, at which the last gate opens."""
        return (super()._span - 1) // self._cycle * self._cycle

    @property
    def _span(self) -> int:
        """Steps from `begin_step` to where the last gate closes, and with it the schedule."""
        return min(self._last_gate + self._gate, super()._span)

    def _sparsity(self, ops: Ops, elapsed: Any) -> Any:
        fraction = ops.exp(-self._clock(ops, elapsed) / self.time_constant)
        if self.snap_final:
            opens, closes = self._last_gate, self._span
            residue = math.exp(-float(self._clock(open_step(0)[0], closes)) / self.time_constant)
            inside = ops.real(ops.clip(elapsed - opens, 0, closes - opens))
            fraction = fraction - residue * (inside / (closes - opens))
        return self._left(fraction)

    def _clock(self, ops: Ops, elapsed: Any) -> Any:
        start = elapsed // self._cycle * (self._gate if self.mode == "freeze" else self._cycle)
        inside = ops.clip(elapsed % self._cycle, 0, self._gate)
        if self.mode == "stretch":
            return ops.real(start) + ops.real(inside) * (self._cycle / self._gate)
        return ops.real(start + inside)

    def _due(self, elapsed: Any) -> Any:
        place = elapsed % self._cycle
        due = super()._due(elapsed) & (place <= self._gate) | (place == self._gate)
        return (elapsed >= 0) & (elapsed < self._span) & due | (elapsed == self._span)
