"""Criteria that look at gradients, against plain numpy, step by step."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import tfshed
from tests.core.test_engine import compile_step
from tests.simulator import blocks_of, target_count
from tfshed.attach.group import PruningGroup
from tfshed.attach.kernels import Kernel
from tfshed.core import criteria
from tfshed.core.backend import signed_bits, to_numpy
from tfshed.core.config import PruningConfig
from tfshed.core.granularity import Axes
from tfshed.core.schedules import ConstantSparsity, LinearDecay

SHAPES = [(8, 6), (4, 5)]
RATE = np.float32(0.1)
KINDS = {"taylor": criteria.Taylor(steps=3), "movement": criteria.Movement()}
SCHEDULES = {
    "from step 3 on": ConstantSparsity(0.6, begin_step=3, frequency=100),
    "gradual": LinearDecay(0.75, end_step=6, begin_step=1, frequency=2),
}


class Machine:
    """Kernels under SGD whose gradients the test decides."""

    def __init__(self, start, rate=float(RATE), inner=None, **config):
        self.variables = [keras.Variable(w, name=f"k{i}") for i, w in enumerate(start)]
        kernels = [Kernel(v, Axes(0, 1), v.name) for v in self.variables]
        self.group = PruningGroup(PruningConfig(threshold=0.0, **config), kernels)
        inner = inner or keras.optimizers.SGD(rate)
        self.optimizer = tfshed.PruningOptimizer(inner, [self.group])
        self.optimizer.build(self.variables)

    def step(self, grads):
        self.optimizer.apply([ops.convert_to_tensor(g) for g in grads], self.variables)


class Oracle:
    """Taylor and movement with SGD, in numpy."""

    def __init__(self, start, kind, schedule, scope, block):
        self.weights, self.kind, self.schedule = [w.copy() for w in start], kind, schedule
        self.block = block
        self.scores = [np.zeros(self.total(w).shape, "float32") for w in start]
        self.masks = [np.ones(s.shape, bool) for s in self.scores]
        n = len(start)
        self.rows = [list(range(n))] if scope == "global" else [[i] for i in range(n)]

    def total(self, x):
        return x if self.block is None else blocks_of(x, *self.block).sum(-1, dtype="float32")

    def expand(self, mask, shape):
        if self.block is not None:
            mask = mask.repeat(self.block[0], 0).repeat(self.block[1], 1)
        return mask[: shape[0], : shape[1]]

    def step(self, t, grads):
        for i, (w, g) in enumerate(zip(self.weights, grads)):
            if self.kind == "taylor":
                now = self.total(np.abs(w * g))
                share = np.float32(1) / np.float32(min(t, 3))
                self.scores[i] = self.scores[i] + (now - self.scores[i]) * share
            else:
                self.scores[i] = self.scores[i] - self.total(w * g)
        due, sparsity = self.schedule(t)
        for row in self.rows if due else ():
            kept = np.concatenate([self.masks[i].ravel() for i in row])
            score = np.concatenate([self.scores[i].ravel() for i in row])
            n = int(kept.sum()) - target_count(np.float32(sparsity), kept.size)
            there = np.flatnonzero(kept)
            kept[there[np.argsort(score[there], kind="stable")[: max(n, 0)]]] = False
            edges = np.cumsum([self.masks[i].size for i in row])[:-1]
            for i, part in zip(row, np.split(kept, edges)):
                self.masks[i] = part.reshape(self.masks[i].shape)
        for i, (w, g) in enumerate(zip(self.weights, grads)):
            new = w - RATE * g
            self.weights[i] = np.where(self.expand(self.masks[i], w.shape), new, np.float32(0))


def grid(rng, shape):
    """Numbers whose products and sums are exact in float32, with ties and both signs."""
    return (rng.integers(-8, 9, size=shape) / 8).astype("float32")


@pytest.mark.backend
@pytest.mark.parametrize("block", [None, (2, 1)])
@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_step_is_numpys(kind, schedule, scope, block):
    rng = np.random.default_rng(0)
    start = [grid(rng, s) + np.float32(3) for s in SHAPES]
    granularity = None if block is None else tfshed.Block(*block)
    schedule = SCHEDULES[schedule]
    machine = Machine(
        start, schedule=schedule, scope=scope, criterion=KINDS[kind], granularity=granularity
    )
    want = Oracle(start, kind, schedule, scope, block)
    name = KINDS[kind].keeps[0]
    for t in range(1, 8):
        grads = [grid(rng, s) for s in SHAPES]
        want.step(t, grads)
        machine.step(grads)
        for i, mask in enumerate(want.masks):
            np.testing.assert_array_equal(to_numpy(machine.group.masks[i]), mask, str(t))
            found = to_numpy(machine.group.criterion_state[i][name])
            np.testing.assert_allclose(found, want.scores[i], rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(to_numpy(machine.variables[i]), want.weights[i], atol=1e-5)
    assert 0.2 < sum(m.sum() for m in want.masks) / sum(m.size for m in want.masks) < 0.45


@pytest.mark.backend
@pytest.mark.parametrize("kind", KINDS)
def test_a_compiled_step_keeps_the_criterions_state(kind):
    rng = np.random.default_rng(1)
    start = [grid(rng, s) + np.float32(3) for s in SHAPES]
    schedule = SCHEDULES["gradual"]
    machine = Machine(start, schedule=schedule, criterion=KINDS[kind])
    want = Oracle(start, kind, schedule, "global", None)
    step = compile_step(machine)
    for t in range(1, 8):
        grads = [grid(rng, s) for s in SHAPES]
        want.step(t, grads)
        step([ops.convert_to_tensor(g) for g in grads])
        for i, mask in enumerate(want.masks):
            np.testing.assert_array_equal(to_numpy(machine.group.masks[i]), mask, str(t))


@pytest.mark.backend
def test_the_state_is_saved_with_the_optimizer(tmp_path):
    """Saved in mid-training and loaded, the run ends as one that was not."""
    from tests import nets

    x, y = nets.data()

    def fit(model, epochs):
        callbacks = [tfshed.UpdatePruningStep()]
        model.fit(x, y, batch_size=32, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks)
        return model

    ends = []
    for broken in (False, True):
        model = nets.pruned(keras.optimizers.SGD(0.05), criterion="movement", threshold=0.0)
        fit(model, 2)
        if broken:
            model.save(tmp_path / "model.keras")
            model = keras.saving.load_model(tmp_path / "model.keras")
        ends.append(nets.kernels(fit(model, 2)))
    for one, other in zip(*ends):
        np.testing.assert_array_equal(one, other)
    assert 0.2 < np.mean([w.astype(bool).mean() for w in ends[0]]) < 0.35


@keras.saving.register_keras_serializable(package="tests")
class SmallMomentum(criteria.Criterion):
    needs = ("slots",)
    signed = False

    def scores(self, context):
        return ops.abs(context.slots["momentum"])


@pytest.mark.backend
def test_a_criterion_sees_the_optimizers_slots_of_its_kernel():
    start = [np.ones((2, 4), "float32"), np.ones((4, 2), "float32")]
    inner = keras.optimizers.SGD(0.1, momentum=0.9)
    schedule = ConstantSparsity(0.5, begin_step=2, frequency=100)
    machine = Machine(
        start, inner=inner, schedule=schedule, scope="global", criterion=SmallMomentum()
    )
    grads = [np.arange(8, dtype="float32").reshape(2, 4), 10 + np.zeros((4, 2), "float32")]
    machine.step(grads)
    machine.step(grads)
    assert not to_numpy(machine.group.masks[0]).any() and to_numpy(machine.group.masks[1]).all()


@keras.saving.register_keras_serializable(package="tests")
class Thousandfold(criteria.Criterion):
    """Magnitude in another unit."""

    grows_threshold = True

    def scores(self, context):
        return 1000.0 * context.magnitudes - 5000.0


@pytest.mark.backend
def test_the_threshold_follows_the_largest_magnitude_pruned_and_no_key():
    start = [np.arange(1, 11, dtype="float32").reshape(2, 5)]
    found = []
    for criterion in ("magnitude", Thousandfold()):
        variable = keras.Variable(start[0], name="k")
        config = PruningConfig(LinearDecay(0.5, 4, frequency=2), criterion=criterion)
        group = PruningGroup(config, [Kernel(variable, Axes(0, 1), "k")])
        optimizer = tfshed.PruningOptimizer(keras.optimizers.SGD(0.0), [group])
        optimizer.build([variable])
        for _ in range(6):
            optimizer.apply([ops.zeros((2, 5))], [variable])
        found.append((to_numpy(group.threshold).tolist(), to_numpy(variable).ravel().tolist()))
    assert found[0] == found[1] == ([5.0], [0.0] * 5 + [6.0, 7.0, 8.0, 9.0, 10.0])


@pytest.mark.backend
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_not_finite_prune_nothing(bad):
    start = [np.ones((2, 4), "float32"), np.ones((4, 2), "float32")]
    schedule = ConstantSparsity(0.75, begin_step=1, frequency=1)
    machine = Machine(start, rate=0.0, schedule=schedule, scope="layer", criterion=KINDS["taylor"])
    grads = [np.full((2, 4), bad, "float32"), np.arange(8, dtype="float32").reshape(4, 2)]
    machine.step(grads)
    assert to_numpy(machine.group.masks[0]).all()
    np.testing.assert_array_equal(to_numpy(machine.group.masks[1]), grads[1] >= 6)


@pytest.mark.backend
def test_signed_bits_order_like_floats_exactly():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=50) * 10.0 ** rng.integers(-44, 38, 50), [0, np.inf]])
    x = np.concatenate([x, -x, np.nextafter(np.float32(1), [0, 2])]).astype("float32")
    keys = ops.convert_to_numpy(signed_bits(x)).astype(np.int64)
    want = (x[:, None] > x).astype(int) - (x[:, None] < x)
    np.testing.assert_array_equal(np.sign(keys[:, None] - keys), want)


def test_what_needs_gradients_is_refused_where_nothing_is_trained():
    from tests.nets import net

    with pytest.raises(ValueError, match="expected one that looks at weights alone"):
        tfshed.sparsify(net(), 0.5, criterion="taylor")


def test_an_unknown_need_is_an_error():
    class Wrong(criteria.Criterion):
        needs = ("gradients",)

    with pytest.raises(ValueError, match=r"criterion: expected needs to be a tuple of"):
        PruningConfig(ConstantSparsity(0.5, 0), criterion=Wrong())
