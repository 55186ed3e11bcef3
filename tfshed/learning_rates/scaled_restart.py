"""Scaled learning rate restarting: warm-up to the highest rate, then two drops."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from tfshed.core.arguments import check_number, check_whole
from tfshed.learning_rates.registry import RateSettings, register

# Shares of the epochs: of the warm-up, and after it until the rate falls to a tenth each time.
WARMUP, DROPS = 0.1, (0.45, 0.675)


@keras.saving.register_keras_serializable(package="tfshed")
class ScaledRestart(keras.optimizers.schedules.LearningRateSchedule):
    """Rises from the lowest to the highest rate, stays there, and falls to a tenth twice.

    With E epochs, W = int(0.1 E), and t = step / steps_per_epoch, the rate is
    lowest + (highest - lowest) (1 - cos(pi t / W)) / 2 while t < W, then `highest`, a tenth of it
    from epoch W + int(0.45 E) on, and a hundredth from epoch W + int(0.675 E) on.

    Args:
        lowest: rate of the first step, > 0.
        highest: rate after the warm-up, >= `lowest`.
        epochs: E, >= 1. Below 10 there is no warm-up.
        steps_per_epoch: optimizer updates in an epoch, >= 1.

    Raises:
        ValueError: an argument is out of its range.

    >>> rate = ScaledRestart(1e-3, 0.1, epochs=72, steps_per_epoch=10)
    >>> [round(float(rate(10 * t)), 4) for t in (0, 3.5, 7, 38.9, 39, 54.9, 55)]
    [0.001, 0.0505, 0.1, 0.1, 0.01, 0.01, 0.001]

    Source: Le & Hua 2021, "Network Pruning That Matters: A Case Study on Retraining Variants",
    section 3.
    """

    def __init__(self, lowest: float, highest: float, epochs: int, steps_per_epoch: int) -> None:
        super().__init__()
        self.lowest = check_number("lowest", lowest, positive=True)
        self.highest = check_number("highest", highest, positive=True)
        if self.lowest > self.highest:
            raise ValueError(f"expected lowest <= highest, received {lowest!r} and {highest!r}")
        self.epochs = check_whole("epochs", epochs, 1)
        self.steps_per_epoch = check_whole("steps_per_epoch", steps_per_epoch, 1)
        warmup = int(WARMUP * self.epochs + 1e-9)
        self._warmup = warmup * self.steps_per_epoch
        # Of products such as 0.45 * 20 floats may be a hair too small.
        self._drops = [
            (warmup + int(share * self.epochs + 1e-9)) * self.steps_per_epoch for share in DROPS
        ]

    def __call__(self, step: Any) -> Any:
        """Returns the rate of the update that follows `step` others, a float32 scalar."""
        step = ops.cast(step, "int32")
        rate = ops.convert_to_tensor(self.highest, "float32")
        for i, drop in enumerate(self._drops):
            lower = ops.convert_to_tensor(self.highest / 10 ** (i + 1), "float32")
            rate = ops.where(step >= drop, lower, rate)
        if not self._warmup:
            return rate
        done = ops.cast(ops.minimum(step, self._warmup), "float32") / self._warmup
        share = 0.5 * (1 - ops.cos(math.pi * done))
        rising = self.lowest * (1 - share) + self.highest * share
        return ops.where(step < self._warmup, rising, rate)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, all of them JSON values."""
        names = ("lowest", "highest", "epochs", "steps_per_epoch")
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"ScaledRestart({inside})"


@register("scaled_restart", needs_rates=False)
def scaled_restart_of_recipe(given: RateSettings) -> ScaledRestart:
    """Between the lowest and the highest of the rates, or of those of training without its own."""
    return ScaledRestart(*given.extremes(), given.epochs, given.steps_per_epoch)
