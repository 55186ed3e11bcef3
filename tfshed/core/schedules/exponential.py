"""Exponential schedules: one decay, or a decay that advances once in each learning-rate cycle."""

from __future__ import annotations

import math
from typing import Any

import keras

from tfshed.core.arguments import check_bool, check_number, check_whole
from tfshed.core.schedules.base import register
from tfshed.core.schedules.ramp import Ramp
from tfshed.core.schedules.step import Ops, open_step


@register("exponential")
@keras.saving.register_keras_serializable(package="tfshed")
class ExponentialDecay(Ramp):
    """The keep-ratio decays exponentially to its final value.

    The keep-ratio at a step is

        r = R_f + (1 - R_f) exp(-t / tau),

    with R_f = 1 - final_sparsity and t = step - begin_step. In each step, the same fraction 1 / tau
    of the distance to R_f is pruned.

    Args:
        final_sparsity: The final sparsity 1 - R_f, in [0, 1).
        time_constant: tau in steps, > 0. For a number of epochs: epochs * steps_per_epoch.
        end_step: The step of the last update, > begin_step.
        begin_step: The step of the first update. Default 0.
        initial_sparsity: The sparsity up to `begin_step`, in [0, final_sparsity]. Default 0.
        frequency: The number of steps between updates (default 100), or a float in (0, 1), which is
            a fraction of an epoch and needs `steps_per_epoch`.
        snap_final: Whether the sparsity from `end_step` on is exactly `final_sparsity` (default).
            If False, the distance (1 - R_f) exp(-T / tau) of eq. 4 remains, where T is
            end_step - begin_step.
        steps_per_epoch: The number of optimizer steps in an epoch.

    Raises:
        ValueError: An argument is out of its range.

    >>> schedule = ExponentialDecay(final_sparsity=0.85, time_constant=3 * 100, end_step=35 * 100)
    >>> [round(schedule.keep_ratio(100 * epoch), 3) for epoch in (0, 1, 2, 3, 5, 10, 35)]
    [1.0, 0.759, 0.586, 0.463, 0.311, 0.18, 0.15]

    Source: Azarian & Porikli 2021 (arXiv 2103.10629), eq. 4.
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
        self.snap_final = check_bool("snap_final", snap_final)

    def _sparsity(self, ops: Ops, elapsed: Any) -> Any:
        return self._left(ops.exp(-self._clock(ops, elapsed) / self.time_constant))

    def _clock(self, ops: Ops, elapsed: Any) -> Any:
        """Returns the time t of the formula, in steps."""
        return ops.real(elapsed)


@register("cyclic")
@keras.saving.register_keras_serializable(package="tfshed")
class CyclicExponentialDecay(ExponentialDecay):
    """An ExponentialDecay that advances only in the first epochs, the gate, of each cycle.

    It goes with a cyclic learning rate, so that pruning happens while the rate is high: the target
    "is only updated during the first two epochs in each cycle" (the paper, section 3.1). The paper
    does not say how much time passes in a gate, so `mode` chooses. Let C = cycle_epochs,
    G = gate_epochs, and t the time in epochs since `begin_step`, so that c = floor(t / C) is the
    number of the cycle and g = min(t mod C, G) the time within its gate. Eq. 4 is evaluated at

    * "freeze": G c + g. The clock stands still outside of gates.
    * "hold": C c + g. In a gate, the target is that of eq. 4. It is held until the next cycle,
      which begins with a jump.
    * "stretch": C c + (C / G) g. The clock runs faster in a gate, so that the target agrees with
      eq. 4 at the end of each cycle.

    Updates are due only in gates, and always at the last step of a gate. The last gate is that of
    the last cycle which begins before `end_step`. The schedule ends when the last gate closes, so
    nothing is pruned after it, when the learning rate is low.

    At that time T, the distance (1 - R_f) exp(-T / tau) to the final keep-ratio remains. With
    `snap_final`, it is removed linearly during the last gate, so that the gate closes at exactly
    `final_sparsity`. The gates before have the values of eq. 4.

    Args:
        final_sparsity, time_constant: As in `ExponentialDecay`.
        end_step: The step from which on no cycle begins, > begin_step.
        steps_per_epoch: The number of optimizer steps in an epoch.
        cycle_epochs: The length C of a cycle in epochs, > 0; it need not be whole. Default 7.
        gate_epochs: The length G of a gate in epochs, in (0, cycle_epochs]. Default 2.
        mode: "freeze" (default), "hold" or "stretch".
        begin_step: The step at which the first cycle starts. Default 0.
        initial_sparsity, frequency: As in `ExponentialDecay`.
        snap_final: Whether the last gate closes at exactly `final_sparsity`. Default True.

    Raises:
        ValueError: An argument is out of its range.

    >>> schedule = CyclicExponentialDecay(0.85, 3 * 100, 35 * 100, steps_per_epoch=100)
    >>> [round(schedule.keep_ratio(100 * epoch), 3) for epoch in (1, 2, 7, 8, 9, 29, 30, 35)]
    [0.759, 0.586, 0.586, 0.463, 0.374, 0.177, 0.15, 0.15]

    Source: Azarian & Porikli 2021 (arXiv 2103.10629), section 3.1 and eq. 4.
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
        if not isinstance(mode, str) or mode not in ("freeze", "hold", "stretch"):
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
        """The steps from `begin_step` until the last gate closes, which ends the schedule."""
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
        # The last step of a gate is always due, whatever the frequency.
        place = elapsed % self._cycle
        due = super()._due(elapsed) & (place <= self._gate) | (place == self._gate)
        return (elapsed >= 0) & (elapsed < self._span) & due | (elapsed == self._span)
