"""The engine against a simulator in plain numpy, step by step."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import ops

import tfshed
from tests.simulator import Replay, Simulator
from tfshed.attach.group import PruningGroup
from tfshed.attach.kernels import Kernel
from tfshed.core.backend import to_numpy
from tfshed.core.config import PruningConfig
from tfshed.core.criteria.random import permute
from tfshed.core.granularity import Axes
from tfshed.core.schedules import ConstantSparsity, ExponentialDecay, LinearDecay, OneShot

BACKEND = keras.backend.backend()
SHAPES = [(8, 6), (2, 2, 8, 4), (4, 2)]
LINEAR = LinearDecay(0.8, end_step=10, begin_step=2, frequency=3)


def walk(shapes, steps, seed=0, grid=None, scale=0.02, dtype="float32"):
    """Weights at the start and after every step, each a small way from the last."""
    rng = np.random.default_rng(seed)
    w = [rng.normal(size=s).astype("float32") for s in shapes]
    for _ in range(steps + 1):
        # On a grid sums of squares are exact, and ties are many.
        yield [(np.round(x * grid) / grid if grid else x).astype(dtype) for x in w]
        w = [(x + scale * rng.normal(size=x.shape)).astype("float32") for x in w]


class Machine:
    """Kernels with a pruning optimizer whose inner steps the test decides."""

    def __init__(self, start, dtype="float32", **config):
        self.variables = [keras.Variable(w, dtype=dtype, name=f"k{i}") for i, w in enumerate(start)]
        kernels = [
            Kernel(v, Axes(len(v.shape) - 2, len(v.shape) - 1), v.name) for v in self.variables
        ]
        self.group = PruningGroup(PruningConfig(**config), kernels)
        self.optimizer = tfshed.PruningOptimizer(Replay(), [self.group])
        self.optimizer.build(self.variables)

    def step(self, weights):
        self.optimizer.apply([ops.convert_to_tensor(w) for w in weights], self.variables)

    @property
    def weights(self):
        return [to_numpy(v) for v in self.variables]

    @property
    def masks(self):
        return [to_numpy(m) for m in self.group.masks]

    def check(self, want, weights, where):
        for i, (got, mask) in enumerate(zip(self.masks, want.masks)):
            np.testing.assert_array_equal(got, mask, err_msg=f"mask {i} after step {where}")
        np.testing.assert_array_equal(to_numpy(self.group.threshold), want.threshold, str(where))
        counts = [want.kept, want.scheduled, want.shed]
        np.testing.assert_array_equal(to_numpy(self.group.counts), counts, f"counts at {where}")
        for got, w in zip(self.weights, weights):
            np.testing.assert_array_equal(got, w, err_msg=f"weights after step {where}")


def random_order(seed):
    """The scores of the random criterion: what is checked here is what they are used for."""

    def order(positions, step):
        positions = ops.convert_to_tensor(positions.astype("int32"))
        return ops.convert_to_numpy(permute(positions, seed, np.int32(step)))

    return order


# (arguments of the configuration, arguments of the simulator, of the walk)
CASES = {
    "magnitude": ({}, {}, {}),
    "many ties": ({}, {}, {"grid": 4}),
    "layer": ({"scope": "layer"}, {"threshold": 0.0}, {}),
    "layer with shedding": ({"scope": "layer", "threshold": 0.01}, {"threshold": 0.01}, {}),
    "fast weights": ({}, {}, {"scale": 0.5}),
    "fast weights, guarded": (
        {"collapse_guard": 0.9},
        {"guard": 0.9},
        {"scale": 0.5},
    ),
    "shed every 3": ({"shed_every": 3}, {"shed_every": 3}, {"scale": 0.2}),
    "threshold 0": ({"threshold": 0.0}, {"threshold": 0.0, "grow": False}, {"scale": 0.2}),
    "fixed threshold": (
        {"threshold": 0.3, "grow_threshold": False},
        {"threshold": 0.3, "grow": False},
        {"scale": 0.2},
    ),
    "random": ({"criterion": tfshed.Random(5)}, {"order": random_order(5)}, {}),
    "random in each layer": (
        {"criterion": tfshed.Random(5), "scope": "layer"},
        {"order": random_order(5), "threshold": 0.0},
        {},
    ),
    "block 4x1": (
        {"granularity": tfshed.Block(4, 1)},
        {"block": (4, 1, "L2")},
        {"grid": 16, "scale": 0.2},
    ),
    "block 2x2, maximum": (
        {"granularity": tfshed.Block(2, 2, "MAX")},
        {"block": (2, 2, "MAX")},
        {"scale": 0.2},
    ),
    "block 2x2, average": (
        {"granularity": tfshed.Block(2, 2, "AVG"), "scope": "layer"},
        {"block": (2, 2, "AVG"), "threshold": 0.0},
        {"grid": 16},
    ),
    "padded block 3x1": (
        {"granularity": tfshed.Block(3, 1, "AVG", pad=True)},
        {"block": (3, 1, "AVG")},
        {"grid": 16},
    ),
    "random blocks": (
        {"granularity": tfshed.Block(4, 1), "criterion": tfshed.Random(1)},
        {"block": (4, 1, "L2"), "order": random_order(1)},
        {"grid": 16},
    ),
    "2:4": (
        {"granularity": tfshed.NxM(2, 4)},
        {"pattern": (4, lambda s: 2 if s > 0 else 0), "grow": False},
        {"scale": 0.2},
    ),
    "balanced": (
        {"granularity": tfshed.Balanced(4)},
        {"pattern": (4, lambda s: min(round(s * 4), 3)), "grow": False},
        {"scale": 0.2},
    ),
    "masks that are made anew": (
        {"monotone": False},
        {"monotone": False, "threshold": 0.0},
        {"scale": 0.5},
    ),
    "2:4 made anew": (
        {"monotone": False, "granularity": tfshed.NxM(2, 4)},
        {"monotone": False, "threshold": 0.0, "pattern": (4, lambda s: 2 if s > 0 else 0)},
        {"scale": 0.5},
    ),
}


def simulator(start, schedule, config, options):
    quiet = config.get("monotone") is False or isinstance(config.get("criterion"), tfshed.Random)
    return Simulator(
        start,
        schedule,
        **{"scope": config.get("scope") or "global", "grow": not quiet, **options},
    )


@pytest.mark.backend
@pytest.mark.parametrize("name", CASES)
def test_every_step_is_as_simulated(name):
    config, options, moves = CASES[name]
    steps = list(walk(SHAPES, 12, **moves))
    machine = Machine(steps[0], schedule=LINEAR, **config)
    want = simulator(steps[0], LINEAR, config, options)
    for t, after in enumerate(steps[1:], 1):
        weights = want.step(t, machine.weights, after)
        machine.step(after)
        machine.check(want, weights, t)
    assert (np.array(want.kept) < want.totals).all()


@pytest.mark.backend
@pytest.mark.parametrize("name", CASES)
def test_every_step_of_shadow_masks_is_as_simulated(name):
    """Masks, threshold and counts are those of a rule that never makes a weight zero."""
    config, options, moves = CASES[name]
    steps = list(walk(SHAPES, 12, **moves))
    machine = Machine(steps[0], schedule=LINEAR, observe=True, **config)
    want = simulator(steps[0], LINEAR, config, {**options, "observe": True})
    for t, after in enumerate(steps[1:], 1):
        want.step(t, machine.weights, after)
        machine.step(after)
        machine.check(want, after, t)
    assert all(w.all() for w in machine.weights) or moves.get("grid")
    assert (np.array(want.kept) < want.totals).all()


def test_the_cases_shed_and_prune():
    """Else they would not tell a broken engine from a whole one."""
    shed = {}
    for name, (config, options, moves) in CASES.items():
        steps = list(walk(SHAPES, 12, **moves))
        want = simulator(steps[0], LINEAR, config, options)
        weights = steps[0]
        for t, after in enumerate(steps[1:], 1):
            weights = want.step(t, weights, after)
        shed[name] = int(np.sum(want.shed))
        assert np.sum(want.scheduled) > 0, name
    for name in ("magnitude", "fast weights", "shed every 3", "fixed threshold", "block 4x1"):
        assert shed[name] > 0, name
    assert shed["threshold 0"] == shed["layer"] == 0


def compile_step(machine):
    """One step of a machine as one compiled function."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        @tf.function(jit_compile=True)
        def step(weights):
            machine.optimizer.apply(weights, machine.variables)

        return step
    if BACKEND == "torch":
        return machine.step
    import jax

    jitted = jax.jit(machine.optimizer.stateless_apply)

    def step(weights):
        state = machine.optimizer.variables
        new, after = jitted([v.value for v in state], weights, [v.value for v in machine.variables])
        for v, x in zip([*machine.variables, *state], [*new, *after]):
            v.assign(x)

    return step


@pytest.mark.backend
@pytest.mark.parametrize("observe", [False, True])
@pytest.mark.parametrize("name", ["magnitude", "layer", "random", "block 4x1", "2:4"])
def test_every_compiled_step_is_as_simulated(name, observe):
    config, options, moves = CASES[name]
    steps = list(walk(SHAPES, 12, **moves))
    machine = Machine(steps[0], schedule=LINEAR, observe=observe, **config)
    want = simulator(steps[0], LINEAR, config, {**options, "observe": observe})
    step = compile_step(machine)
    for t, after in enumerate(steps[1:], 1):
        weights = want.step(t, machine.weights, after)
        step([ops.convert_to_tensor(w) for w in after])
        machine.check(want, weights, t)


RUNS = given(
    seed=st.integers(0, 10**6),
    scope=st.sampled_from(["global", "layer"]),
    grid=st.sampled_from([None, 3]),
    scale=st.sampled_from([0.0, 0.05, 1.0]),
    threshold=st.sampled_from([0.0, 1e-4, 0.5]),
    shed_every=st.sampled_from([1, 2]),
    final=st.sampled_from([0.05, 0.5, 0.97]),
    begin=st.integers(0, 3),
    frequency=st.integers(1, 5),
    observe=st.booleans(),
)


def check_run(seed, scope, grid, scale, threshold, shed_every, final, begin, frequency, observe):
    schedule = LinearDecay(final, end_step=9, begin_step=begin, frequency=frequency)
    steps = list(walk([(4, 3), (5,) * 2], 10, seed=seed, grid=grid, scale=scale))
    config = {"scope": scope, "threshold": threshold, "shed_every": shed_every, "observe": observe}
    machine = Machine(steps[0], schedule=schedule, collapse_guard=0.0, **config)
    want = Simulator(steps[0], schedule, grow=threshold > 0, guard=0.0, **config)
    for t, after in enumerate(steps[1:], 1):
        weights = want.step(t, machine.weights, after)
        machine.step(after)
        machine.check(want, weights, t)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@RUNS
def test_any_run_is_as_simulated(**run):
    check_run(**run)


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@RUNS
def test_any_of_many_runs_is_as_simulated(**run):
    check_run(**run)


@pytest.mark.backend
def test_masks_only_lose_and_the_threshold_only_grows():
    steps = list(walk(SHAPES, 25, scale=0.3))
    machine = Machine(steps[0], schedule=ExponentialDecay(0.9, 4, end_step=20, frequency=2))
    masks, theta = machine.masks, 0.0
    for after in steps[1:]:
        machine.step(after)
        reached = float(to_numpy(machine.group.threshold)[0])
        for old, new, w in zip(masks, machine.masks, machine.weights):
            assert not (new & ~old).any()
            assert (w[~new] == 0).all() and (np.abs(w[new]) >= reached).all()
        assert reached >= theta
        masks, theta = machine.masks, reached
    assert theta > 1e-4


@pytest.mark.backend
@pytest.mark.parametrize(
    ("schedule", "first"),
    [
        (ConstantSparsity(0.5, 0), 1),
        (OneShot(0.5), 1),
        (ConstantSparsity(0.5, 1), 1),
        (OneShot(0.5, step=3), 3),
    ],
)
def test_the_first_update_comes_when_it_is_due(schedule, first):
    start = [np.arange(1, 21, dtype="float32").reshape(4, 5)]
    machine = Machine(start, schedule=schedule)
    kept = []
    for _ in range(4):
        machine.step(start)
        kept.append(int(machine.masks[0].sum()))
    assert kept == [20 if t < first else 10 for t in range(1, 5)]


@pytest.mark.backend
@pytest.mark.parametrize("frequency", [1, 3, 7, 100])
def test_the_last_update_lands_on_the_final_sparsity(frequency):
    start = [np.linspace(1, 2, 200, dtype="float32").reshape(10, 20)]
    schedule = LinearDecay(0.85, end_step=10, frequency=frequency)
    machine = Machine(start, schedule=schedule)
    for _ in range(12):
        machine.step(start)
    assert int(machine.masks[0].sum()) == 30
    np.testing.assert_array_equal(machine.masks[0].ravel(), np.arange(200) >= 170)
    np.testing.assert_allclose(float(to_numpy(machine.group.target)), 0.15, rtol=1e-6)


@pytest.mark.backend
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_kernels_keep_exactly_as_many(dtype):
    """Half of the weights share a magnitude with others there."""
    rng = np.random.default_rng(0)
    start = [rng.normal(size=(64, 32)).astype("float32"), rng.normal(size=(32, 8))]
    machine = Machine(start, dtype, schedule=OneShot(0.7), threshold=0.0)
    before = [ops.convert_to_numpy(ops.cast(v, "float32")) for v in machine.variables]
    assert len(np.unique(np.abs(before[0]))) < 0.9 * before[0].size
    want = Simulator(before, OneShot(0.7), threshold=0.0, grow=False)
    weights = want.step(1, before, before)
    machine.step(before)
    assert sum(m.sum() for m in machine.masks) == round(0.3 * (64 * 32 + 32 * 8))
    for v, w, m, n in zip(machine.variables, weights, machine.masks, want.masks):
        np.testing.assert_array_equal(m, n)
        np.testing.assert_array_equal(ops.convert_to_numpy(ops.cast(v, "float32")), w)


@pytest.mark.backend
def test_a_weight_that_is_not_a_number_stays():
    start = [np.full((4, 4), 0.01, "float32")]
    machine = Machine(start, schedule=OneShot(0.5, step=2), threshold=0.1, collapse_guard=0.0)
    after = start[0].copy()
    after[0, 0] = np.nan
    after[1, 1] = np.inf
    after[2, 2] = 0.5
    machine.step([after])
    want = np.zeros((4, 4), bool)
    want[[0, 1, 2], [0, 1, 2]] = True
    np.testing.assert_array_equal(machine.masks[0], want)
    assert np.isnan(machine.weights[0][0, 0]) and np.isposinf(machine.weights[0][1, 1])


@pytest.mark.backend
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_cut_that_is_not_finite_prunes_nothing(value):
    start = [np.ones((4, 4), "float32"), np.full((2, 4), 2.0, "float32")]
    # The first kernel diverges by more than is to be kept; the second one is sound.
    machine = Machine(start, schedule=OneShot(0.5, step=2), scope="layer", threshold=0.1)
    bad = start[0].copy()
    bad.ravel()[:12] = value
    machine.step([bad, start[1]])
    machine.step([bad, start[1]])
    assert machine.masks[0].all()
    assert int(machine.masks[1].sum()) == 4
    np.testing.assert_array_equal(to_numpy(machine.group.threshold), np.float32([0.1, 2.0]))
    np.testing.assert_array_equal(to_numpy(machine.group.counts)[1], [0, 4])


@pytest.mark.backend
def test_a_weight_at_the_threshold_stays():
    start = [np.array([[0.5, -0.5], [0.49999997, 1.0]], "float32")]
    machine = Machine(start, schedule=OneShot(0.5, step=9), threshold=0.5)
    machine.step(start)
    np.testing.assert_array_equal(machine.masks[0], [[True, True], [False, True]])


@pytest.mark.backend
def test_masks_made_anew_let_weights_come_back():
    start = [np.array([[1.0, 2.0, 3.0, 4.0]], "float32")]
    schedule = ConstantSparsity(0.5, 0, frequency=2)
    machine = Machine(start, schedule=schedule, monotone=False)
    machine.step(start)
    np.testing.assert_array_equal(machine.masks[0], [[False, False, True, True]])
    machine.step([np.array([[9.0, 8.0, 1.0, 2.0]], "float32")])
    np.testing.assert_array_equal(machine.weights[0], [[9.0, 8.0, 0.0, 0.0]])


COLLAPSES = {
    "single weights": {},
    "blocks": {"granularity": tfshed.Block(2, 1)},
    "random": {"criterion": tfshed.Random(1)},
    "each layer": {"scope": "layer"},
}


@pytest.mark.backend
@pytest.mark.parametrize("name", COLLAPSES)
def test_a_step_that_would_empty_the_net_sheds_nothing(name):
    """Between updates, in the first step, and after the last update; the weights are as they were.

    With an update every 100 steps the guard looked at updates only, and 0 weights were left.
    """
    start = [np.ones((10, 10), "float32"), np.ones((10, 4), "float32")]
    schedule = LinearDecay(0.5, end_step=4, begin_step=2, frequency=2)
    machine = Machine(start, schedule=schedule, threshold=0.1, **COLLAPSES[name])
    small = [0.01 * w for w in start]
    for t in range(1, 7):
        machine.step(small)
        kept = sum(int(m.sum()) for m in machine.masks)
        total = sum(m.size for m in machine.masks)
        assert kept == total if t < 2 else kept >= 0.5 * total - 1
        assert (sum(int(np.count_nonzero(w)) for w in machine.weights) > 0) and not any(
            w[to_numpy(machine.group.mask_of(i))].min() < np.float32(0.01)
            for i, w in enumerate(machine.weights)
        )
    assert to_numpy(machine.group.events).tolist() == [6, 0]
    [problem] = machine.group.problems()
    assert problem.startswith("shedding would have taken nearly all that is left")


@pytest.mark.backend
def test_the_guard_allows_shedding_down_to_its_floor():
    start = [np.ones((10, 10), "float32")]
    schedule = LinearDecay(0.5, end_step=1000, frequency=100)
    for few, left in ((5, 5), (4, 100)):  # the floor is a tenth of the final 50
        after = np.full((100,), 0.01, "float32")
        after[:few] = 1.0
        machine = Machine(start, schedule=schedule, threshold=0.1)
        machine.step([after.reshape(10, 10)])
        assert int(machine.masks[0].sum()) == left
        assert bool(machine.group.problems()) == (left == 100)
    machine = Machine(start, schedule=schedule, threshold=0.1, collapse_guard=0.0)
    machine.step([0.01 * start[0]])
    assert not machine.masks[0].any() and not machine.group.problems()


class Unending(tfshed.PruningSchedule):
    """A schedule of a user's own that does not say where it ends."""

    def __init__(self, value=0.5):
        self.value = value

    def __call__(self, step):
        return step > 0, self.value + 0.0 * ops.cast(step, "float32")

    def get_config(self):
        return {"value": self.value}


@pytest.mark.backend
def test_a_schedule_without_a_final_sparsity_is_guarded_by_the_target_in_force():
    start = [np.arange(1, 101, dtype="float32").reshape(10, 10)]
    machine = Machine(start, schedule=Unending(), threshold=0.1)
    machine.step(start)
    after = np.where(start[0] > 96, start[0], 0.01).astype("float32")
    machine.step([after])  # 4 of 50: below a tenth
    assert int(machine.masks[0].sum()) == 50
    after = np.where(start[0] > 95, start[0], 0.01).astype("float32")
    machine.step([after])
    assert int(machine.masks[0].sum()) == 5


@pytest.mark.backend
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1.0, 2.0, -0.1])
@pytest.mark.parametrize("monotone", [True, False])
def test_a_schedule_that_gives_no_sparsity_changes_nothing_and_is_reported(bad, monotone):
    class Bad(Unending):
        def __call__(self, step):
            wrong = ops.logical_and(step >= 3, step < 5)
            return step > 0, ops.where(wrong, float(bad), 0.25)

    start = [np.arange(1, 101, dtype="float32").reshape(10, 10)]
    machine = Machine(start, schedule=Bad(), monotone=monotone)
    for _ in range(2):
        machine.step(start)
    state = [to_numpy(v) for v in (machine.group.threshold, machine.group.counts)]
    assert int(machine.masks[0].sum()) == 75 and not machine.group.problems()
    for _ in range(2):
        machine.step(start)
    assert int(machine.masks[0].sum()) == 75
    for old, new in zip(state, (machine.group.threshold, machine.group.counts)):
        np.testing.assert_array_equal(to_numpy(new), old)
    assert float(to_numpy(machine.group.target)) == 0.75
    assert to_numpy(machine.group.events).tolist() == [0, 2]
    [problem] = machine.group.problems()
    assert "pruning_schedule: expected a sparsity in [0, 1) at every update" in problem


@pytest.mark.backend
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_kernels_of_one_shape_draw_masks_of_their_own(scope):
    """In one group, whatever its scope, and in several groups of one model."""
    start = [np.ones((8, 8), "float32")] * 2
    machine = Machine(start, schedule=OneShot(0.5), scope=scope, criterion=tfshed.Random(3))
    machine.step(start)
    assert (machine.masks[0] != machine.masks[1]).any()
    variables = [keras.Variable(w, name=f"k{i}") for i, w in enumerate(start)]
    groups = [
        PruningGroup(
            PruningConfig(OneShot(0.5), scope=scope, criterion="random"),
            [Kernel(v, Axes(0, 1), v.name)],
        )
        for v in variables
    ]
    optimizer = tfshed.PruningOptimizer(Replay(), groups)
    optimizer.build(variables)
    optimizer.apply([ops.convert_to_tensor(w) for w in start], variables)
    first, second = (to_numpy(g.masks[0]) for g in groups)
    assert (first != second).any() and first.sum() == second.sum() == 32


@pytest.mark.backend
def test_a_kernel_of_zeros_is_reported():
    start = [np.zeros((3, 3), "float32"), np.ones((3, 3), "float32")]
    with pytest.warns(UserWarning, match="k0 is all zeros"):
        machine = Machine(start, schedule=OneShot(0.5, step=9))
    machine.step(start)
    assert not machine.masks[0].any() and machine.masks[1].all()


def test_a_kernel_of_zeros_may_grow_where_nothing_is_shed():
    start = [np.zeros((3, 3), "float32")]
    machine = Machine(start, schedule=OneShot(0.5, step=9), threshold=0.0)
    machine.step([np.ones((3, 3), "float32")])
    assert machine.masks[0].all() and machine.weights[0].all()


@pytest.mark.backend
def test_zeros_at_the_start_are_the_mask_on_request():
    start = [np.array([[0.0, 1.0], [2.0, 0.0]], "float32")]
    machine = Machine(start, schedule=OneShot(0.5, step=1), threshold=0.0)
    assert machine.masks[0].all()
    machine = Machine(start, schedule=OneShot(0.5, step=1), threshold=0.0, hold_zeros=True)
    np.testing.assert_array_equal(machine.masks[0], start[0] != 0)
    machine.step([np.full((2, 2), 5.0, "float32")])
    np.testing.assert_array_equal(machine.weights[0], [[0.0, 5.0], [5.0, 0.0]])
    np.testing.assert_array_equal(to_numpy(machine.group.counts)[:, 0], [2, 0, 0])


@pytest.mark.backend
def test_at_least_one_weight_of_a_scope_is_kept():
    start = [np.array([[1.0, 2.0, 3.0]], "float32"), np.ones((20, 20), "float32")]
    machine = Machine(start, schedule=OneShot(0.99), scope="layer")
    machine.step(start)
    assert [int(m.sum()) for m in machine.masks] == [1, 4]


@pytest.mark.backend
def test_large_scopes_are_guarded_by_a_sample():
    """What is left of the sample is left of the scope; a sample that keeps its part lets shed."""
    rng = np.random.default_rng(0)
    start = [np.ones((300, 200), "float32")]
    schedule = LinearDecay(0.5, end_step=1000, frequency=100)
    for share, sheds in ((0.0, False), (0.03, False), (0.07, True)):  # the floor is 0.05
        machine = Machine(start, schedule=schedule, threshold=0.1)
        after = np.where(rng.random(start[0].shape) < share, 1.0, 0.01).astype("float32")
        machine.step([after])
        np.testing.assert_array_equal(machine.masks[0], after == 1 if sheds else True)
        assert bool(machine.group.problems()) != sheds


@pytest.mark.backend
def test_a_large_kernel_is_judged_by_its_masks_and_by_smaller_kernels():
    """A step that takes all kernels down sheds nothing; one that takes the large one down is the
    last that sheds, until weights are back."""
    rng = np.random.default_rng(0)
    start = [np.ones((300, 200), "float32"), np.ones((100, 10), "float32")]
    low = [np.full_like(w, 0.01) for w in start]
    schedule = LinearDecay(0.5, end_step=1000, frequency=100)
    machine = Machine(start, schedule=schedule, threshold=0.1)
    machine.step(low)
    assert all(m.all() for m in machine.masks) and machine.group.steps_held == 1

    machine = Machine(start, schedule=schedule, threshold=0.1)
    few = rng.random(start[0].shape) < 0.01  # the floor is 0.05
    machine.step([np.where(few, 1.0, 0.01).astype("float32"), start[1]])
    np.testing.assert_array_equal(machine.masks[0], few)
    assert machine.masks[1].all() and machine.group.steps_held == 0
    machine.step(low)
    np.testing.assert_array_equal(machine.masks[0], few)
    assert machine.masks[1].all() and machine.group.steps_held == 1
    assert all((w != 0).any() for w in machine.weights)
