"""Successive halving, and the parts of the search for a decisive setting that train nothing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfshed.experiments.successive_halving import successive_halving

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def search():
    path = ROOT / "benchmarks" / "cascade_search.py"
    spec = importlib.util.spec_from_file_location("cascade_search", path)
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@given(
    values=st.lists(st.integers(-9, 9), min_size=1, max_size=20),
    sizes=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    keep=st.sampled_from([0.2, 1 / 3, 0.5, 0.9]),
)
def test_without_noise_the_best_is_found_and_nothing_is_measured_twice(values, sizes, keep):
    asked = []

    def score(i, seed):
        asked.append((i, seed))
        return float(values[i])

    seeds = iter(range(99))
    rungs = [tuple(next(seeds) for _ in range(n)) for n in sizes]
    found = successive_halving(range(len(values)), score, rungs=rungs, keep=keep)
    assert values[found[-1][0].setting] == max(values)
    assert len(asked) == len({*asked})
    for before, after in zip(found, found[1:]):
        assert len(after) == max(1, round(keep * len(before)))
        best = {each.setting for each in before[: len(after)]}
        assert {each.setting for each in after} == best
    assert [len(each.scores) for each in found[-1]] == [sum(sizes)] * len(found[-1])


def test_what_cannot_be_is_an_error():
    for rungs in ([], [()], [(0,), ()]):
        with pytest.raises(ValueError, match="settings, rungs: expected at least one"):
            successive_halving([1], lambda x, seed: 0.0, rungs=rungs)
    with pytest.raises(ValueError, match="rungs: expected every seed once"):
        successive_halving([1], lambda x, seed: 0.0, rungs=[(0,), (0,)])
    with pytest.raises(ValueError, match="keep: expected a number"):
        successive_halving([1], lambda x, seed: 0.0, rungs=[(0,)], keep=1.0)


def test_the_seeds_that_confirm_are_in_no_rung(search):
    assert not {*search.CONFIRMING} & {seed for rung in search.RUNGS for seed in rung}


def test_settings_are_drawn_once_each_and_the_same_again(search):
    found = search.draw(30, seed=1)
    assert len({*found}) == 30 and found == search.draw(30, seed=1) != search.draw(30, seed=2)
    for name, values in search.FACTORS.items():
        assert {getattr(each, name) for each in found} == {*values}


def test_a_shadow_that_is_not_stable_has_no_score(search):
    fine = search.Measured(0.3, 0.1, 0.9, 0.9, 0.86, 1.0)
    lost = search.Measured(0.3, 0.1, 0.9, 0.9, 0.8, 1.0)
    assert fine.score == pytest.approx(0.2) and lost.score == search.UNSTABLE
    assert search.verdict([fine] * 5)[0]
    assert not search.verdict([fine] * 4 + [lost])[0]
    wide = [search.Measured(gap, 0.1, 0.9, 0.9, 0.9, 1.0) for gap in (0.0, 0.6, 0.0, 0.6, 0.0)]
    assert not search.verdict(wide)[0]


def test_wrong_labels_are_as_many_as_said_and_wrong(search):
    labels = np.arange(10000) % 10
    noisy = search.noisy(labels, 0.3, seed=0)
    assert abs((noisy != labels).mean() - 0.3) < 0.02
    assert noisy.min() == 0 and noisy.max() == 9
    assert (search.noisy(labels, 0.0, seed=0) == labels).all()


def test_a_search_that_was_stopped_goes_on(search, tmp_path, monkeypatch):
    asked = []

    def measure(setting, seed):
        asked.append(seed)
        return search.Measured(0.1 * seed, 0.0, 0.9, 0.9, 0.9, 1.0)

    monkeypatch.setattr(search, "measure", measure)
    (setting,) = search.draw(1, 0)
    first = search.Notebook(tmp_path, until=float("inf"))
    again = [search.Notebook(tmp_path, until=float("inf"))(setting, 3) for _ in range(2)]
    assert first(setting, 3) == again[0] == again[1] and asked == [3, 3]
    with pytest.raises(TimeoutError, match="the same command goes on"):
        search.Notebook(tmp_path, until=-1.0)(setting, 4)
