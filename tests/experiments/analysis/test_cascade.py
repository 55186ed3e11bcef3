"""tfshed.experiments.analysis: numbers of a run, and words that follow them in either direction."""

from __future__ import annotations

import dataclasses

import pytest

from tfshed.experiments import analysis

PLAIN = analysis.Outcome(0, True, 0.1, 0.1, 0.0, 1.0, 0.98, 0.97, 1.0, 0.98, 0.9, 10.0)


def made(**values):
    return [dataclasses.replace(PLAIN, **values)]


def said(high, low, control, fixed, **more):
    return "\n".join(analysis.describe(high, low, control, fixed, tests=357, **more))


def test_outcome_takes_the_widest_gap_and_the_lowest_accuracy():
    rows = [
        {"step": 5, "target": 0.9, "actual": 0.85, "val_accuracy": 0.5},
        {"step": 10, "target": 0.8, "actual": None},
        {"step": 15, "target": 0.7, "actual": 0.5, "val_accuracy": 0.9},
        {"step": 15, "target": 0.7, "actual": 0.5},
    ]
    found = analysis.outcome(rows, steps_per_epoch=5, before=0.95, seed=3)
    assert (found.gap, found.gap_epoch) == (pytest.approx(0.2), 3.0)
    assert (found.lowest, found.lowest_epoch, found.final) == (0.5, 1.0, 0.9)
    assert (found.target, found.actual, found.seed) == (0.7, 0.5, 3)
    assert found.dip == pytest.approx(0.45)


def test_the_shadow_has_a_gap_and_the_sentence_compares_it():
    rows = [{"step": 5, "target": 0.9, "actual": 0.6, "val_accuracy": 0.5}]
    found = analysis.outcome(rows, steps_per_epoch=5, before=0.95, pruned=False, observed=True)
    assert found.gap == pytest.approx(0.3) and found.observed and not found.pruned
    assert "0.300" in analysis.outcome_table({"not pruned": [found]})

    def told(high, gap):
        return said(high, made(), made(gap=gap, pruned=False, observed=True), made())

    high = made(gap=0.2)
    assert "Pruning adds to the shedding: 75% of the gap" in told(high, 0.05)
    assert "no answer to pruning" in told(high, 0.19)
    assert "to tell what pruning adds" in told([*high, *made(gap=0.04)], 0.05)
    assert "shadow masks" not in said(high, made(), made(), made())


def test_a_control_has_no_gap():
    rows = [{"step": 5, "target": 1.0, "actual": 0.9, "val_accuracy": 0.5}]
    found = analysis.outcome(rows, steps_per_epoch=5, before=0.95, pruned=False)
    assert found.gap == 0


@pytest.mark.parametrize("rows", [[], [{"step": 1, "target": 1.0, "actual": 1.0}]])
def test_rows_without_the_metric_are_an_error(rows):
    with pytest.raises(ValueError, match="expected rows with keep-ratios and 'val_accuracy'"):
        analysis.outcome(rows, steps_per_epoch=1, before=0.5)


def test_says_what_the_paper_says_where_the_numbers_do():
    text = said(made(gap=0.2, lowest=0.1), made(gap=0.01), made(), made(gap=0.02))
    assert "More with momentum, as the paper reports" in text
    assert "A dip with momentum and (nearly) none without" in text
    assert "the restart alone does not make the dip" in text
    assert "10% of the gap is left" in text


def test_says_the_opposite_where_the_numbers_do():
    text = said(made(gap=0.01), made(gap=0.2, lowest=0.1), made(lowest=0.05), made())
    assert "the opposite of what the paper reports" in text
    assert "no dip with momentum 0.9, where the paper reports a deep one" in text
    assert "that tells nothing" in text


def test_a_control_that_dips_as_deep_takes_the_meaning_from_the_dip():
    text = said(made(gap=0.2, lowest=0.1), made(), made(lowest=0.1), made(gap=0.2))
    assert "no sign of a cascade" in text
    assert "does not make the gap" in text
    text = said(made(gap=0.2, lowest=0.08), made(), made(lowest=0.53), made(gap=0.2))
    assert "That is 50% of the dip with pruning" in text


def test_no_gap_anywhere_is_said_so():
    text = said(made(gap=0.01), made(gap=0.0), made(), made())
    assert "This is hardly any shedding" in text


def test_seeds_that_overlap_decide_nothing():
    high = [*made(gap=0.3), *made(gap=0.03)]
    low = [*made(gap=0.02), *made(gap=0.1)]
    assert "too close, or the seeds too far apart" in said(high, low, made() * 2, made() * 2)


def test_the_matched_rate_goes_to_the_nearer_side():
    high, low = made(gap=0.2), made(gap=0.0)
    assert "the size of the step counts" in said(high, low, made(), made(), matched=made(gap=0.18))
    assert "momentum counts" in said(high, low, made(), made(), matched=made(gap=0.02))


def test_final_accuracy_is_compared_with_chance():
    assert "do not differ by more than chance" in said(made(), made(final=0.975), made(), made())
    assert "worse than 0 by more than chance" in said(made(final=0.5), made(), made(), made())


def test_a_net_below_its_final_target_is_named():
    assert "below its final target" in said(made(actual=0.05), made(), made(), made())
    assert "below its final target" not in said(made(), made(), made(), made())


def test_table_has_means_and_half_ranges_and_no_gap_for_controls():
    table = analysis.outcome_table(
        {"a": [*made(gap=0.2), *made(gap=0.4)], "none": made(pruned=False)}
    )
    assert "0.300+-0.100" in table
    assert table.splitlines()[-1].split()[:5] == ["none", "-", "-", "-", "-"]
