"""Constant, linear and polynomial sparsity; all at once; step by step."""

from __future__ import annotations

import math
from typing import Any

import keras

from tfshed.core.arguments import check_number, check_whole
from tfshed.core.schedules.base import register
from tfshed.core.schedules.ramp import Ramp
from tfshed.core.schedules.step import Ops


@register("constant")
@keras.saving.register_keras_serializable(package="tfshed")
class ConstantSparsity(Ramp):
    """The same sparsity from `begin_step` on: s = target_sparsity. tfmot's class.

    Args:
        target_sparsity: Sparsity in [0, 1); also kept as `final_sparsity`.
        begin_step: First update, in steps. Before it the sparsity is 0.
        end_step: Last update, in steps; -1 is for ever.
        frequency: Steps between updates, or a float in (0, 1), a fraction of `steps_per_epoch`.

    Raises:
        ValueError: If an argument is out of its range.

    >>> schedule = ConstantSparsity(0.5, begin_step=100, frequency=10)
    >>> schedule(99), schedule(100), schedule(101)
    ((False, 0.0), (True, 0.5), (False, 0.5))
    """

    default_scope = "layer"
    _endless = True

    def __init__(
        self,
        target_sparsity: float,
        begin_step: int,
        end_step: int = -1,
        frequency: float = 100,
        *,
        steps_per_epoch: int | None = None,
    ) -> None:
        self._validate_sparsity(target_sparsity, "target_sparsity")
        self._set(0.0, target_sparsity, begin_step, end_step, frequency, steps_per_epoch)

    @property
    def target_sparsity(self) -> float:
        """The sparsity, under tfmot's name."""
        return self.final_sparsity


@register("polynomial")
@keras.saving.register_keras_serializable(package="tfshed")
class PolynomialDecay(Ramp):
    """Polynomial rise of the sparsity, cubic by default. tfmot's class, Zhu & Gupta 2017, eq. 1.

    s = s_f + (s_i - s_f) (1 - (step - begin_step) / (end_step - begin_step)) ** power

    Other than in tfmot the update at `end_step` always happens, the one at step 0 too, and
    begin_step == end_step gives the final sparsity at that step.

    Args:
        initial_sparsity: s_i in [0, 1), the sparsity up to `begin_step`.
        final_sparsity: s_f in [0, 1), at least s_i, the sparsity from `end_step` on.
        begin_step: First update, in steps.
        end_step: Last update, in steps, >= begin_step.
        power: Exponent, > 0.
        frequency: Steps between updates, or a float in (0, 1), a fraction of `steps_per_epoch`.

    Raises:
        ValueError: If an argument is out of its range.

    >>> schedule = PolynomialDecay(0.0, 0.8, begin_step=0, end_step=250, frequency=100)
    >>> [(step, round(schedule(step)[1], 4)) for step in range(300) if schedule(step)[0]]
    [(0, 0.0), (100, 0.6272), (200, 0.7936), (250, 0.8)]
    """

    default_scope = "layer"

    def __init__(
        self,
        initial_sparsity: float,
        final_sparsity: float,
        begin_step: int,
        end_step: int,
        power: float = 3,
        frequency: float = 100,
        *,
        steps_per_epoch: int | None = None,
    ) -> None:
        self._set(
            initial_sparsity, final_sparsity, begin_step, end_step, frequency, steps_per_epoch
        )
        self.power = check_number("power", power, positive=True)

    def _sparsity(self, ops: Ops, elapsed: Any) -> Any:
        return self._left(self._linear(ops, elapsed) ** self.power)


@register("linear")
@keras.saving.register_keras_serializable(package="tfshed")
class LinearDecay(Ramp):
    """Linear fall of the keep-ratio. Azarian & Porikli 2021 (arXiv 2103.10629), eq. 3.

    r = 1 - (1 - R_f) t / T, with R_f = 1 - final_sparsity, t = step - begin_step and
    T = end_step - begin_step; it starts from 1 - initial_sparsity if that is given.

    Args:
        final_sparsity: 1 - R_f, in [0, 1).
        end_step: Last update, in steps, >= begin_step.
        begin_step: First update, in steps.
        initial_sparsity: Sparsity up to `begin_step`, in [0, final_sparsity].
        frequency: Steps between updates, or a float in (0, 1), a fraction of `steps_per_epoch`.

    Raises:
        ValueError: If an argument is out of its range.

    >>> schedule = LinearDecay(final_sparsity=0.85, end_step=35 * 100)
    >>> [round(schedule.keep_ratio(100 * epoch), 3) for epoch in (0, 5, 20, 35)]
    [1.0, 0.879, 0.514, 0.15]
    """

    def __init__(
        self,
        final_sparsity: float,
        end_step: int,
        begin_step: int = 0,
        initial_sparsity: float = 0.0,
        frequency: float = 100,
        *,
        steps_per_epoch: int | None = None,
    ) -> None:
        self._set(
            initial_sparsity, final_sparsity, begin_step, end_step, frequency, steps_per_epoch
        )

    def _sparsity(self, ops: Ops, elapsed: Any) -> Any:
        return self._left(self._linear(ops, elapsed))


@register("one_shot")
@keras.saving.register_keras_serializable(package="tfshed")
class OneShot(Ramp):
    """All of the pruning in one update, at `step`: s = 0 before it, final_sparsity from it on.

    Args:
        final_sparsity: Sparsity in [0, 1).
        step: The update, in steps; also kept as `begin_step` and `end_step`.

    Raises:
        ValueError: If an argument is out of its range.

    >>> schedule = OneShot(0.8, step=500)
    >>> schedule(499), schedule(500), schedule(501)
    ((False, 0.0), (True, 0.8), (False, 0.8))
    """

    def __init__(self, final_sparsity: float, step: int = 0) -> None:
        step = check_whole("step", step, 0)
        self._set(0.0, final_sparsity, step, step, 1, None)

    @property
    def step(self) -> int:
        """The step of the update."""
        return self.begin_step


@register("iterative")
@keras.saving.register_keras_serializable(package="tfshed")
class Iterative(Ramp):
    """Rounds of pruning and retraining. Renda et al. 2020 (arXiv 2003.02389).

    r = max(keep_per_round ** (k + 1), 1 - final_sparsity) in round k = 0, 1, .. since
    `begin_step`. An update is due at the start of each round; the first round that reaches the
    final sparsity is the last, its start is `end_step`.

    Args:
        final_sparsity: Sparsity in [0, 1).
        steps_per_round: Steps from one round to the next, >= 1; also kept as `frequency`.
        begin_step: Start of the first round, in steps. Before it the sparsity is 0.
        keep_per_round: What part of the kept weights a round keeps, in (0, 1).

    Raises:
        ValueError: If an argument is out of its range.

    >>> schedule = Iterative(0.5, steps_per_round=1000)
    >>> [(step, round(schedule(step)[1], 3)) for step in range(9999) if schedule(step)[0]]
    [(0, 0.2), (1000, 0.36), (2000, 0.488), (3000, 0.5)]
    """

    def __init__(
        self,
        final_sparsity: float,
        steps_per_round: int,
        begin_step: int = 0,
        keep_per_round: float = 0.8,
    ) -> None:
        self._validate_sparsity(final_sparsity, "final_sparsity")
        self.steps_per_round = check_whole("steps_per_round", steps_per_round, 1)
        self.keep_per_round = check_number("keep_per_round", keep_per_round, positive=True)
        if self.keep_per_round >= 1:
            raise ValueError(
                f"expected keep_per_round to be in (0, 1), received {keep_per_round!r}"
            )
        # Else rounding makes one round too many of a final sparsity like 1 - 0.8**5.
        rounds = math.log(1 - final_sparsity) / math.log(self.keep_per_round) - 1e-9
        begin_step = check_whole("begin_step", begin_step, 0)
        end_step = begin_step + (max(1, math.ceil(rounds)) - 1) * self.steps_per_round
        self._set(0.0, final_sparsity, begin_step, end_step, self.steps_per_round, None)

    def _sparsity(self, ops: Ops, elapsed: Any) -> Any:
        # In float32 a power would multiply the rounding of its base.
        rounds = ops.real(elapsed // self.steps_per_round + 1)
        sparsity = 1.0 - ops.exp(rounds * math.log(self.keep_per_round))
        return ops.where(sparsity > self.final_sparsity, self.final_sparsity, sparsity)
