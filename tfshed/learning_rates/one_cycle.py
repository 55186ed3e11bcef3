"""A rate that rises and falls once, along half a cosine each; momentum may do the reverse."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from tfshed.core.arguments import check_number, check_whole
from tfshed.learning_rates.registry import RateSettings, register

ENDINGS = ("lowest", "ten_thousandth")
# The share of the cycle in which the rate rises (Le & Hua 2021, section 3).
RISE = 0.1


@keras.saving.register_keras_serializable(package="tfshed")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Goes from `start` to `peak` and on to `end`, each along half a cosine.

    With W = round(rise * steps) and L = steps - 1, the value at step s is
    start + (peak - start) (1 - cos(pi s / W)) / 2 for s <= W,
    peak + (end - peak) (1 - cos(pi (s - W) / (L - W))) / 2 for W < s <= L, and `end` after that.

    A rate usually has start < peak > end. With start > peak < end it is the cycle of the momentum
    that goes with it, see `ScheduledMomentumSGD`.

    Args:
        start: value of the first step, > 0.
        peak: value at step W, > 0.
        end: value of the last step, > 0.
        steps: optimizer updates of the whole cycle, >= 3.
        rise: the share of the steps that lie before the peak, in (0, 1). Default 0.1.

    Raises:
        ValueError: an argument is out of its range.

    >>> rate = OneCycle(1e-3, 0.1, 1e-5, steps=101)
    >>> [round(float(rate(step)), 6) for step in (0, 5, 10, 55, 100)]
    [0.001, 0.0505, 0.1, 0.050005, 1e-05]

    Source: Smith & Topin 2019, "Super-Convergence" (arXiv 1708.07120), with cosines as in the code
    of Le & Hua 2021, "Network Pruning That Matters".
    """

    def __init__(
        self, start: float, peak: float, end: float, steps: int, rise: float = RISE
    ) -> None:
        super().__init__()
        self.start = check_number("start", start, positive=True)
        self.peak = check_number("peak", peak, positive=True)
        self.end = check_number("end", end, positive=True)
        self.steps = check_whole("steps", steps, 3)
        self.rise = check_number("rise", rise, positive=True)
        if self.rise >= 1:
            raise ValueError(f"expected rise to be below 1, received {rise!r}")
        self._rises = min(max(1, round(self.rise * self.steps)), self.steps - 2)

    def __call__(self, step: Any) -> Any:
        """Returns the value for the update that follows `step` others, a float32 scalar."""
        step = ops.cast(step, "int32")
        before = _half_cosine(step, 0, self._rises, self.start, self.peak)
        after = _half_cosine(step, self._rises, self.steps - 1, self.peak, self.end)
        return ops.where(step <= self._rises, before, after)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, all of them JSON values."""
        names = ("start", "peak", "end", "steps", "rise")
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"OneCycle({inside})"


def _half_cosine(step: Any, first: int, last: int, start: float, end: float) -> Any:
    """From `start` at the step `first` to `end` at `last`, and constant outside."""
    # Counted in whole numbers: a float32 cannot tell step 2**24 from the next one.
    done = ops.cast(ops.clip(step - first, 0, last - first), "float32") / (last - first)
    share = 0.5 * (1 - ops.cos(math.pi * done))
    # In this form it is exactly `start` and `end` where the share is 0 and 1.
    return start * (1 - share) + end * share


@register("one_cycle", needs_rates=False)
def one_cycle_of_recipe(given: RateSettings) -> OneCycle:
    """From the lowest of the rates to the highest within a tenth of the phase, and down again.

    The option `ending` says how far down: "lowest", to the lowest rate (Le & Hua 2021, the paper),
    or "ten_thousandth", to a ten-thousandth of the highest (their code). Default "lowest".
    Without rates of its own, the phase takes the lowest and highest of training.
    """
    lowest, highest = given.extremes()
    options = dict(given.options)
    ending = options.pop("ending", "lowest")
    if ending not in ENDINGS:
        raise ValueError(f"options.ending: expected one of {', '.join(ENDINGS)}, got {ending!r}")
    end = lowest if ending == "lowest" else highest / 1e4
    return OneCycle(lowest, highest, end, given.epochs * given.steps_per_epoch, **options)
