"""What is computed from masks over time: against definitions written once more, and by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tfshed import analysis
from tfshed.observe.snapshot_file import BIN_EDGES, KernelInfo, MaskSnapshot, magnitude_counts

SHAPES = [(4, 3), (5,)]
MASKS = st.tuples(*(arrays.arrays(bool, s) for s in SHAPES)).map(list)
SEVERAL = st.lists(MASKS, min_size=1, max_size=5)


def snapshot(masks, step=0, weights=None, block=None, axes=(0, 1), shapes=None):
    shapes = shapes or [m.shape for m in masks]
    infos = tuple(
        KernelInfo(f"net/{i}", tuple(s), m.shape, axes, block)
        for i, (m, s) in enumerate(zip(masks, shapes))
    )
    counted = [np.zeros(1)] * len(masks) if weights is None else weights
    return MaskSnapshot(
        step,
        0,
        infos,
        list(masks),
        np.zeros(len(masks), "float32"),
        1.0,
        np.stack([magnitude_counts(w) for w in counted]),
        weights,
    )


def over_time(masks):
    return [snapshot(m, step=10 * i) for i, m in enumerate(masks)]


def as_set(masks):
    return {(i, *place) for i, m in enumerate(masks) for place in zip(*np.nonzero(m))}


@given(a=MASKS, b=MASKS)
def test_iou_is_that_of_sets(a, b):
    either = as_set(a) | as_set(b)
    want = len(as_set(a) & as_set(b)) / len(either) if either else 1.0
    assert analysis.iou(a, b) == analysis.iou(b, a) == want
    assert analysis.iou(a, a) == 1.0


@given(r=st.floats(0.01, 1.0), s=st.floats(0.01, 1.0))
def test_chance_is_the_ratio_of_expected_sizes(r, s):
    assert analysis.chance_iou(r) == pytest.approx(r / (2 - r))
    assert analysis.chance_iou(r, s) == pytest.approx(r * s / (1 - (1 - r) * (1 - s)))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), kept=st.integers(1, 399))
def test_shuffled_sets_lie_in_the_interval_as_often_as_it_says(seed, kept):
    rng = np.random.default_rng(seed)
    a = np.arange(400) < kept
    b = np.arange(400) < 200
    low, high = analysis.permutation_interval([a], [b], level=0.9, seed=seed)
    found = [analysis.iou([rng.permutation(a)], [b]) for _ in range(300)]
    inside = np.mean([low <= x <= high for x in found])
    assert inside > 0.84  # the interval has whole numbers at its ends, so rather more than 0.9
    assert low <= analysis.chance_iou(kept / 400, 0.5) * 1.02 and high >= low


def test_within_kernels_the_profile_alone_is_chance():
    rng = np.random.default_rng(0)
    sizes = (500, 500)
    ratios = (0.9, 0.1)
    a, b = ([rng.random(n) < r for n, r in zip(sizes, ratios)] for _ in range(2))
    value = analysis.iou(a, b)
    assert value > analysis.permutation_interval(a, b)[1]
    low, high = analysis.permutation_interval(a, b, within="kernel")
    assert low <= value <= high


def test_overlap_over_time_compares_equal_keep_ratios():
    full, half = np.ones(100, bool), np.arange(100) < 50
    a = over_time([[full], [half], [np.arange(100) < 10]])
    b = over_time([[full], [np.arange(100) < 80], [~half]])
    found = analysis.overlap_over_time(a, b)
    assert [(o.steps, o.iou) for o in found] == [((0, 0), 1.0), ((10, 20), 0.0)]
    assert found[1].chance == pytest.approx(1 / 3) and found[1].low > 0.0


@given(runs=SEVERAL)
def test_consensus_counts_and_chance_is_that_of_independent_runs(runs):
    counts = analysis.consensus(runs)
    shares, expected = analysis.consensus_shares(runs)
    total = sum(m.size for m in runs[0])
    for k in range(len(runs) + 1):
        assert shares[k] == pytest.approx(sum(int((c == k).sum()) for c in counts) / total)
    want = np.zeros(len(runs) + 1)
    for i, m in enumerate(runs[0]):
        ratios = [float(run[i].mean()) for run in runs]
        for who in itertools.product((0, 1), repeat=len(runs)):
            chance = math.prod(r if w else 1 - r for r, w in zip(ratios, who))
            want[sum(who)] += chance * m.size / total
    np.testing.assert_allclose(expected, want, atol=1e-12)


@given(masks=SEVERAL)
def test_lost_at_is_the_first_snapshot_without_it(masks):
    for kernel, found in enumerate(analysis.lost_at(over_time(masks))):
        for place in np.ndindex(found.shape):
            kept = [bool(m[kernel][place]) for m in masks]
            want = max((i + 1 for i, k in enumerate(kept) if k), default=0)
            assert found[place] == want
            assert not any(kept[want:])


def test_which_weights_were_lost_when_and_how_much_drifts():
    masks = [[np.ones((2, 2), bool)], [np.array([[1, 0], [1, 1]], bool)], [np.eye(2, dtype=bool)]]
    run = over_time(masks)
    lost = analysis.lost_between(run, "net/0")
    assert {step: x.tolist() for step, x in lost.items()} == {0: [], 10: [[0, 1]], 20: [[1, 0]]}
    np.testing.assert_allclose(analysis.mask_drift(run), [1 / 4, 1 / 3])
    np.testing.assert_allclose(analysis.layer_profile(run)["net/0"], [1.0, 0.75, 0.5])
    with pytest.raises(ValueError, match="kernel: expected one of"):
        analysis.lost_between(run, "net/1")


@settings(deadline=None)
@given(
    seed=st.integers(0, 1000),
    block=st.sampled_from([(4, 1), (2, 2), (1, 3), (3, 2)]),
    threshold=st.floats(0.01, 2.0),
)
def test_blocks_are_counted_as_a_loop_counts_them(seed, block, threshold):
    rng = np.random.default_rng(seed)
    a, b = block
    weight = rng.normal(size=(2, 7, 5)).astype("float32")  # padded blocks are at the ends
    rows, columns = -(-7 // a), -(-5 // b)
    mask = rng.random((2, rows, columns)) < 0.6
    shot = snapshot([mask], weights=[weight], block=block, axes=(1, 2), shapes=[weight.shape])
    counts = np.zeros(mask.shape, int)
    sizes = np.zeros(mask.shape, int)
    for i, r, c in np.ndindex(*weight.shape):
        counts[i, r // a, c // b] += abs(weight[i, r, c]) >= threshold
        sizes[i, r // a, c // b] += 1
    flags = np.abs(weight) >= threshold
    np.testing.assert_array_equal(analysis.count_in_blocks(shot.kernels[0], flags), counts)
    pmf = analysis.l0_pmf(shot, threshold)
    want = [float((counts[mask] == k).mean()) if mask.any() else 0.0 for k in range(a * b + 1)]
    np.testing.assert_allclose(pmf, want)
    if mask.any():
        share = 1 - counts[mask].sum() / sizes[mask].sum()
        assert analysis.degenerate_share(shot, threshold) == pytest.approx(share)


def test_blocks_need_blocks_and_weights():
    mask = [np.ones((2, 2), bool)]
    with pytest.raises(ValueError, match="expected one with weights"):
        analysis.l0_pmf(snapshot(mask, block=(2, 1), shapes=[(4, 2)]))
    with pytest.raises(ValueError, match="expected kernels pruned in blocks"):
        analysis.degenerate_share(snapshot(mask, weights=[np.ones((2, 2))]))


@given(
    # Half of the least denormal number would be 0, so the numbers are multiples of 1/64.
    weights=arrays.arrays("float32", 30, elements=st.integers(-576, 576).map(lambda n: n / 64)),
    keep=st.floats(0.01, 1.0),
    scale=st.sampled_from([0.5, 4.0]),
)
def test_the_relative_threshold_keeps_what_pruning_would_and_follows_the_scale(
    weights, keep, scale
):
    threshold = analysis.relative_threshold([weights], keep)
    n = max(1, round(keep * 30))
    assert (np.abs(weights) > threshold).sum() < n <= (np.abs(weights) >= threshold).sum()
    assert analysis.relative_threshold([scale * weights], keep) == scale * threshold


def test_magnitudes_over_time():
    weights = [np.float32([0.0, 0.01, 0.02, 1.0])]
    shots = [snapshot([np.ones(4, bool)], weights=w) for w in (weights, [100 * weights[0]])]
    edges, shares = analysis.magnitude_shares(shots)
    assert edges is BIN_EDGES
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    assert shares[0, 0] == 0.25
    assert analysis.share_below(shots[0], 0.5) == 0.75
    assert analysis.share_below(shots[1], 0.5) == 0.25


def test_the_shed_rate_is_a_share_of_what_is_left():
    rows = [
        {"step": 0, "actual": 1.0, "scheduled": 0, "shed": 0},
        {"step": 10, "actual": 0.8, "scheduled": 10, "shed": 10},
        {"step": 20, "actual": None, "scheduled": None, "shed": None},
        {"step": 30, "actual": 0.4, "scheduled": 10, "shed": 50},
    ]
    steps, rates = analysis.shed_rate(rows)
    assert steps.tolist() == [5, 20]
    np.testing.assert_allclose(rates, [10 / 100 / 10, 40 / 80 / 20])
    assert analysis.shed_rate(rows[:1])[0].size == 0


@settings(max_examples=25, deadline=None)
@given(
    constant=st.floats(0.5, 40.0),
    amplitude=st.sampled_from([-2.0, 0.3, 5.0]),
    floor=st.sampled_from([-1.0, 0.0, 0.2]),
)
def test_an_exponential_is_found_again(constant, amplitude, floor):
    t = np.linspace(3.0, 23.0, 41)
    found = analysis.exponential_fit(t, floor + amplitude * np.exp(-(t - 3.0) / constant))
    assert found.decided and found.r_squared > 0.9999
    assert found.time_constant == pytest.approx(constant, rel=1e-2)
    assert found.floor == pytest.approx(floor, abs=0.05 * abs(amplitude))


def test_a_line_or_noise_is_no_exponential():
    t = np.arange(30.0)
    assert not analysis.exponential_fit(t, 1.0 - 0.01 * t).decided
    noise = np.random.default_rng(0).normal(size=30)
    assert not analysis.exponential_fit(t, noise).decided
    assert not analysis.exponential_fit(t, np.ones(30)).decided
    with pytest.raises(ValueError, match="increasing"):
        analysis.exponential_fit([0, 0, 1], [1, 2, 3])
    with pytest.raises(ValueError, match="finite"):
        analysis.exponential_fit([0, 1, 2], [1, np.nan, 3])


def test_the_shed_response_is_what_the_shadow_has_not():
    seed = [np.array([1, 0, 0, 0, 0, 0], bool)]
    kept = [[0, 1, 1, 1, 1, 1], [0, 1, 0, 1, 1, 1], [0, 1, 0, 0, 0, 1]]
    null = [[1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1], [0, 0, 1, 1, 0, 1]]
    run, shadow = (over_time([[np.array(m, bool)] for m in x]) for x in (kept, null))
    found = analysis.shed_response(run, shadow, seed)
    assert (found.seed, found.others, found.shed, found.null, found.both) == (1, 5, 3, 2, 1)
    assert found.excess == pytest.approx(1 / 5)
    # Of those that only the run shed, the one that went first is in front.
    assert found.first["net/0"].tolist() == [[2], [3]]
    assert found.steps["net/0"].tolist() == [10, 20]
    assert found.p == 1.0
    with pytest.raises(ValueError, match="expected snapshots at the same steps"):
        analysis.shed_response(run, shadow[:2], seed)
    with pytest.raises(ValueError, match="expected arrays of the masks' shapes"):
        analysis.shed_response(run, shadow, [np.zeros(5, bool)])


@given(one=st.integers(0, 300), other=st.integers(0, 300))
def test_the_sign_test_sums_the_tails_of_fair_coins(one, other):
    n = one + other
    tail = [math.comb(n, i) for i in range(n + 1) if abs(2 * i - n) >= abs(one - other)]
    assert analysis.sign_test(one, other) == pytest.approx(sum(tail) / 2**n, abs=1e-12)


def test_the_sign_test_of_many_is_near_the_exact_one():
    exact = sum(math.comb(1001, i) for i in range(470)) * 2 / 2**1001
    assert analysis.sign_test(469, 532) == pytest.approx(exact, rel=0.02)


def test_knocked_out_weights_are_zero_and_no_others():
    weights = [np.float32([[1, -2], [3, 4]]), np.float32([5])]
    found = analysis.knock_out(weights, [np.eye(2, dtype=bool), None])
    assert found[0].tolist() == [[0, -2], [3, 0]] and found[1].tolist() == [5]
    assert found[0].dtype == np.float32 and weights[0][0, 0] == 1
    with pytest.raises(ValueError, match=r"seed\[0\]: expected shape"):
        analysis.knock_out(weights, [np.eye(3, dtype=bool), None])
