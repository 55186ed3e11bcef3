"""A schedule is looked at before training, at its begin, its end and some updates between."""

from __future__ import annotations

import math

import pytest

import tfshed
from tfshed.core.schedules.check import check_schedule


class Wrong(tfshed.PruningSchedule):
    """Half of the weights, but at one step something else."""

    def __init__(self, at, value, begin_step=10, end_step=100, frequency=10):
        self.at, self.value = at, value
        self.begin_step, self.end_step, self.frequency = begin_step, end_step, frequency

    def __call__(self, step):
        due = self.begin_step <= step and (step - self.begin_step) % self.frequency == 0
        return due, self.value if step == self.at else 0.5

    def get_config(self):
        return {"at": self.at, "value": self.value}


@pytest.mark.parametrize("value", [math.nan, 1.0, 2.0, math.inf, -0.1])
@pytest.mark.parametrize("at", [10, 50, 100])
def test_a_sparsity_that_is_none_is_found_where_it_comes(at, value):
    with pytest.raises(
        ValueError, match=rf"expected a sparsity in \[0, 1\), received .* step {at} "
    ):
        check_schedule(Wrong(at, value))


def test_a_step_without_an_update_may_say_anything():
    check_schedule(Wrong(5, math.nan))
    check_schedule(Wrong(101, 2.0))


def test_a_schedule_without_an_end_is_looked_at_near_its_begin():
    with pytest.raises(ValueError, match="at step 12 "):
        check_schedule(Wrong(12, 2.0, end_step=-1, frequency=1))
    check_schedule(Wrong(100_000, 2.0, end_step=-1, frequency=1))


@pytest.mark.parametrize(
    "schedule",
    [
        tfshed.ConstantSparsity(0.5, 0),
        tfshed.PolynomialDecay(0.0, 0.5, 3, 3),
        tfshed.OneShot(0.9, step=7),
        tfshed.Iterative(0.9, steps_per_round=10),
        tfshed.CyclicExponentialDecay(0.85, time_constant=30, end_step=350, steps_per_epoch=10),
    ],
)
def test_schedules_of_tfshed_pass(schedule):
    check_schedule(schedule)
