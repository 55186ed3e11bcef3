"""Simple schedules: constant, polynomial, linear, one-shot and iterative pruning."""

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
    """The same target sparsity from `begin_step` on. It is tfmot's class of this name.

    The sparsity is s = target_sparsity from `begin_step` on, and 0 before.

    Args:
        target_sparsity: The sparsity, in [0, 1). It is also available as `final_sparsity`.
        begin_step: The step of the first update.
        end_step: The step of the last update. Default -1: updates never end.
        frequency: The number of steps between updates (default 100), or a float in (0, 1), which is
            a fraction of an epoch and needs `steps_per_epoch`.
        steps_per_epoch: The number of optimizer steps in an epoch.

    Raises:
        ValueError: An argument is out of its range.

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
        """The sparsity, by the name that tfmot gives it."""
        return self.final_sparsity


@register("polynomial")
@keras.saving.register_keras_serializable(package="tfshed")
class PolynomialDecay(Ramp):
    """The sparsity rises by a polynomial, by default a cubic one. It is tfmot's class of this name.

    The sparsity at a step is

        s = s_f + (s_i - s_f) (1 - (step - begin_step) / (end_step - begin_step)) ** power.

    Unlike in tfmot, the updates at `end_step` and at step 0 always happen, and if begin_step equals
    end_step, the sparsity at that step is the final one.

    Args:
        initial_sparsity: The sparsity s_i up to `begin_step`, in [0, 1).
        final_sparsity: The sparsity s_f from `end_step` on, in [0, 1), at least s_i.
        begin_step: The step of the first update.
        end_step: The step of the last update, >= begin_step.
        power: The exponent, > 0. Default 3.
        frequency: The number of steps between updates (default 100), or a float in (0, 1), which is
            a fraction of an epoch and needs `steps_per_epoch`.
        steps_per_epoch: The number of optimizer steps in an epoch.

    Raises:
        ValueError: An argument is out of its range.

    >>> schedule = PolynomialDecay(0.0, 0.8, begin_step=0, end_step=250, frequency=100)
    >>> [(step, round(schedule(step)[1], 4)) for step in range(300) if schedule(step)[0]]
    [(0, 0.0), (100, 0.6272), (200, 0.7936), (250, 0.8)]

    Source: Zhu & Gupta 2017 (arXiv 1710.01878), eq. 1.
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
    """The keep-ratio falls linearly to its final value.

    The keep-ratio at a step is

        r = 1 - (1 - R_f) t / T,

    with R_f = 1 - final_sparsity, t = step - begin_step and T = end_step - begin_step. If
    `initial_sparsity` is given, it falls from 1 - initial_sparsity.

    Args:
        final_sparsity: The final sparsity 1 - R_f, in [0, 1).
        end_step: The step of the last update, >= begin_step.
        begin_step: The step of the first update. Default 0.
        initial_sparsity: The sparsity up to `begin_step`, in [0, final_sparsity]. Default 0.
        frequency: The number of steps between updates (default 100), or a float in (0, 1), which is
            a fraction of an epoch and needs `steps_per_epoch`.
        steps_per_epoch: The number of optimizer steps in an epoch.

    Raises:
        ValueError: An argument is out of its range.

    >>> schedule = LinearDecay(final_sparsity=0.85, end_step=35 * 100)
    >>> [round(schedule.keep_ratio(100 * epoch), 3) for epoch in (0, 5, 20, 35)]
    [1.0, 0.879, 0.514, 0.15]

    Source: Azarian & Porikli 2021 (arXiv 2103.10629), eq. 3.
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
    """All pruning is done in a single update.

    The sparsity is 0 before `step`, and `final_sparsity` from `step` on.

    Args:
        final_sparsity: The sparsity, in [0, 1).
        step: The step of the update. It is also available as `begin_step` and `end_step`. Default
            0: before training.

    Raises:
        ValueError: An argument is out of its range.

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
    """Pruning and retraining alternate in rounds.

    The keep-ratio in round k = 0, 1, ... is

        r = max(keep_per_round ** (k + 1), 1 - final_sparsity).

    An update is due at the start of each round. The last round is the first one that reaches the
    final sparsity; its start is available as `end_step`.

    Args:
        final_sparsity: The final sparsity, in [0, 1).
        steps_per_round: The number of steps in a round, >= 1. It is also available as `frequency`.
        begin_step: The step at which the first round starts. The sparsity is 0 before it. Default
            0.
        keep_per_round: The fraction of the kept weights that a round keeps, in (0, 1). Default 0.8.

    Raises:
        ValueError: An argument is out of its range.

    >>> schedule = Iterative(0.5, steps_per_round=1000)
    >>> [(step, round(schedule(step)[1], 3)) for step in range(9999) if schedule(step)[0]]
    [(0, 0.2), (1000, 0.36), (2000, 0.488), (3000, 0.5)]

    Source: Renda et al. 2020 (arXiv 2003.02389).
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
        # Without the 1e-9, rounding would give one round too many for a final sparsity such as
        # 1 - 0.8**5.
        rounds = math.log(1 - final_sparsity) / math.log(self.keep_per_round) - 1e-9
        begin_step = check_whole("begin_step", begin_step, 0)
        end_step = begin_step + (max(1, math.ceil(rounds)) - 1) * self.steps_per_round
        self._set(0.0, final_sparsity, begin_step, end_step, self.steps_per_round, None)

    def _sparsity(self, ops: Ops, elapsed: Any) -> Any:
        # A power is computed as an exponential, since in float32 the rounding error of the base
        # would be multiplied by the exponent.
        rounds = ops.real(elapsed // self.steps_per_round + 1)
        sparsity = 1.0 - ops.exp(rounds * math.log(self.keep_per_round))
        return ops.where(sparsity > self.final_sparsity, self.final_sparsity, sparsity)
