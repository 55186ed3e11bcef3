"""The words in which users are told about pruning, on both Keras."""

from __future__ import annotations

import types

import numpy as np
import pytest

import tfshed
from tfshed.attach import notices
from tfshed.core.config import PruningConfig


class Endless:
    """A schedule that does not say where it ends."""

    def __call__(self, step):
        return step == 3, 0.5

    def get_config(self):
        return {}


def group(masks, schedule, target=1.0, step=0, **options):
    config = PruningConfig(schedule, **options)
    kernels = [types.SimpleNamespace(path=f"k{i}") for i in range(len(masks))]
    totals = np.asarray([sum(mask.size for mask in masks)])
    return types.SimpleNamespace(
        config=config,
        masks=masks,
        kernels=kernels,
        totals=totals,
        sheds=config.threshold > 0,
        target=np.float32(target),
        step=np.int32(step),
        problems=list,
    )


def test_warnings_come_once_each():
    warn = notices.WarnOnce()
    with pytest.warns(UserWarning) as found:
        for what, text in (("a", "one"), ("a", "one"), ("b", "two")):
            warn(what, text)
    assert [str(w.message) for w in found] == ["one", "two"]


def test_a_net_below_its_target_and_an_empty_kernel_are_told():
    masks = [np.zeros(4, bool), np.arange(16) < 2]
    found = dict(notices.about_masks(group(masks, tfshed.OneShot(0.5))))
    assert found.keys() == {"below", "k0"}
    assert "keep-ratio 0.1000, target 0.5000" in found["below"]
    assert "nothing is left of k0" in found["k0"]
    # Where nothing is shed, the schedule alone took the weights.
    assert [*dict(notices.about_masks(group(masks, tfshed.OneShot(0.5), threshold=0.0)))] == ["k0"]


@pytest.mark.parametrize(
    "schedule, target, options, words",
    [
        (tfshed.OneShot(0.5, step=3), 0.5, {}, None),
        (tfshed.OneShot(0.5, step=30), 1.0, {}, "in its 7 steps no pruning update was due"),
        (tfshed.LinearDecay(0.8, 20), 0.75, {}, "sparsity of 0.2500, .* in step 20 at 0.8000"),
        # Two of four are pruned whether 0.4 or 0.5 is asked for.
        (tfshed.LinearDecay(0.5, 20), 0.6, {"granularity": tfshed.NxM(2, 4)}, None),
        (tfshed.LinearDecay(0.5, 20), 1.0, {"granularity": tfshed.NxM(2, 4)}, "nothing is pruned"),
        # A schedule of one's own need not say where it ends.
        (Endless(), 1.0, {"scope": "layer"}, None),
    ],
)
def test_the_end_of_training_before_the_end_of_the_schedule(schedule, target, options, words):
    found = notices.about_schedule(group([np.ones(8, bool)], schedule, target, 7, **options))
    if words is None:
        assert found is None
    else:
        assert found is not None
        with pytest.warns(UserWarning, match=words):
            notices.WarnOnce()("schedule", found)


def test_what_went_wrong_in_steps_is_told_and_a_pattern_is_its_own_target():
    """A group of one in four keeps less than the schedule's half, and has not shed."""
    quarter = group([np.arange(8) % 4 == 0], tfshed.OneShot(0.5), granularity="1:4")
    assert list(notices.about_masks(quarter)) == []
    quarter.problems = lambda: ["shedding was held back"]
    assert list(notices.about_masks(quarter)) == [("shedding was held back",) * 2]
