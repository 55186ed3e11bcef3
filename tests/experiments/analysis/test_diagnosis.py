"""tfshed.analysis.diagnose: every verdict by a run made by hand, and one real run."""

from __future__ import annotations

import json

import keras
import pytest

import tfshed
from tests.nets import JIT, data, net
from tfshed.experiments.analysis import diagnose
from tfshed.observe.csv_table import CsvTable

TARGETS = [0.9, 0.7, 0.5, 0.3, 0.2, 0.2]


def rows(gaps, targets=TARGETS, **more):
    """A row for each update; the last one is the end of the epoch."""
    return [
        {"step": 10 * i, "target": r, "actual": r - g, "scheduled": 10 * i, "shed": 30 * i}
        | {"event": "update" if i < len(targets) else "epoch", **more}
        for i, (r, g) in enumerate(zip(targets, gaps), 1)
    ]


def test_no_shedding():
    found = diagnose(rows([0, 0.005, 0.009, 0.0, 0, 0]))
    assert (found.ahead, found.began, found.reached) == ("no", None, "yes")
    assert found.remedies == () and "did not run ahead" in str(found)


def test_shedding_ahead_of_the_target_but_not_past_it():
    found = diagnose(rows([0, 0.012, 0.15, 0.05, 0, 0]))
    assert (found.ahead, found.largest_gap, found.at_step) == ("yes", pytest.approx(0.15), 30)
    assert found.began == 20 and found.reached == "yes" and found.from_pruning == "not decided"
    assert "75% of what went was shed" in str(found) and "observe=True" in str(found)
    assert found.remedies[0].startswith("none is needed")


def test_a_gap_between_the_limits_is_not_decided():
    found = diagnose(rows([0, 0.015, 0, 0, 0, 0]))
    assert found.ahead == "not decided" and found.began is None
    assert str(found).startswith("Not decided whether shedding")


def test_the_pitfall_has_remedies():
    found = diagnose(rows([0, 0.1, 0.1, 0.1, 0.05, 0.05]))
    assert found.reached == "no" and "section 4.3" in str(found)
    text = " ".join(found.remedies)
    for word in ("momentum 0", "warm-up", "grow_threshold", "weight decay", "gentler seed"):
        assert word in text


@pytest.mark.parametrize(
    ("gap", "share", "from_pruning", "words"),
    [
        (0.145, 0.97, "no", "pruning adds little"),
        (0.03, 0.2, "yes", "comes from pruning"),
        (0.1, 0.67, "not decided", "not decided whether most"),
    ],
)
def test_the_shadow_tells_what_pruning_causes(gap, share, from_pruning, words):
    shadow = rows([0, 0.01, gap, 0.01, 0, 0], observed=1.0)
    # What the shadow sheds after the run has ended is not compared.
    shadow.append({**shadow[-1], "step": 1000, "actual": 0.0})
    found = diagnose(rows([0, 0.05, 0.15, 0.05, 0, 0]), shadow)
    assert found.shadow_share == pytest.approx(share, abs=0.01)
    assert found.from_pruning == from_pruning and words in str(found)


def test_without_shedding_there_is_no_cause_to_find():
    found = diagnose(rows([0] * 6), rows([0.1] * 6, observed=1.0))
    assert found.shadow_share is None and found.from_pruning == "not decided"


def test_a_run_that_is_not_over():
    found = diagnose(rows([0, 0.05, 0.15, 0.0], TARGETS[:4] + [0.2])[:3])
    assert found.ahead == "yes" and found.reached == "no"
    moving = diagnose(rows([0, 0.05, 0.0, 0.0, 0.0])[:4])
    assert moving.reached == "not decided" and "is not there yet" in str(moving)
    short = diagnose(rows([0, 0, 0, 0, -0.1, -0.1]))
    assert short.reached == "not decided"
    nothing = diagnose(rows([0.0, 0.0], [1.0, 1.0]))
    assert nothing.ahead == "not decided" and "no update" in str(nothing)


def test_settings_and_monitor_of_a_folder_are_looked_at(tmp_path):
    table = CsvTable(tmp_path / "keep_ratio.csv", ["step"])
    for row in rows([0, 0.1, 0.1, 0.1, 0.05, 0.05]):
        table.append(row)
    phase = {"momentum": 0.0, "weight_decay": 0.0, "schedule": "linear", "grow_threshold": False}
    phase["learning_rate"] = {"warmup_epochs": 1.0}
    settings = {"settings": {"phase": "prune", "config": {"prune": phase}}}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    found = diagnose(tmp_path)
    text = " ".join(found.remedies)
    for word in ("momentum 0", "warm-up", "grow_threshold", "less weight decay", "LinearDecay"):
        assert word not in text
    assert "each update prunes less" in text
    monitor = CsvTable(tmp_path / "cascade.csv", ["step"])
    monitor.append({"step": 10, "update_ratio": 0.05, "near_threshold": 0.2, "batch_norm_lag": 0.1})
    text = str(diagnose(tmp_path / "keep_ratio.csv"))
    assert "5.0% of the size" in text and "20.0% of the kept" in text and "0.100 too low" in text


def test_wrong_runs_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="run: expected the folder of a run"):
        diagnose(tmp_path)
    with pytest.raises(ValueError, match="shadow: expected a run with observe=True"):
        diagnose(rows([0.1] * 6), rows([0.1] * 6))
    with pytest.raises(ValueError, match="Give it as shadow"):
        diagnose(rows([0.1] * 6, observed=1.0))
    with pytest.raises(ValueError, match="without actual"):
        diagnose([{"step": 1, "target": 0.5, "scheduled": 0, "shed": 0}])
    with pytest.raises(ValueError, match="rows with keep-ratios, received none"):
        diagnose([{"step": 1, "target": 0.5, "actual": None, "scheduled": 0, "shed": 0}])


@pytest.mark.backend
@pytest.mark.filterwarnings("ignore:the net has shed itself")
def test_a_real_run_and_its_shadow(tmp_path):
    x, y = data()
    for name, observe in (("run", False), ("shadow", True)):
        schedule = tfshed.LinearDecay(0.3, end_step=16, frequency=2)
        model = tfshed.prune_low_magnitude(net(), schedule, scope="global", observe=observe)
        # Nothing but decay: both shed the same, so pruning causes nothing of it.
        optimizer = keras.optimizers.SGD(0.05, weight_decay=1.0)
        model.compile(optimizer, "mse", jit_compile=JIT[0])
        keep = tfshed.KeepRatio(tmp_path / name, plot=False, tensorboard=False)
        monitor = tfshed.CascadeMonitor(tmp_path / name)
        callbacks = [tfshed.UpdatePruningStep(), keep, monitor]
        model.fit(0 * x, 0 * y, batch_size=16, epochs=5, verbose=0, callbacks=callbacks)
    found = diagnose(tmp_path / "run", tmp_path / "shadow")
    assert found.ahead == "yes" and found.reached == "no"
    assert found.shadow_share > 0.8 and found.from_pruning == "no"
    assert any("lower learning rate" in each for each in found.remedies)
