"""The pruning optimizer: exact zeros after every step, whatever is around or inside of it."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
from keras import ops

import tfshed
from tests.nets import (
    BACKEND,
    JIT,
    KERAS,
    ZerosAfterEveryStep,
    check_zeros,
    data,
    group,
    kernels,
    net,
    pruned,
    schedule,
)
from tests.simulator import Replay
from tfshed.attach.keras3.optimizer import pruning_optimizer
from tfshed.attach.keras3.wrapping import ensure_pruning
from tfshed.core.backend import to_numpy

only_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.function and the like")


class MaxNorm(keras.constraints.Constraint):
    """Moves every weight, zeros too, so that only a mask can keep them."""

    def __call__(self, w):
        return w + 0.01

    # In the tests' names, where an address would differ between pytest-xdist's workers.
    def __repr__(self):
        return "MaxNorm()"


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1),
    "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    "nesterov": lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.01),
    "amsgrad": lambda: keras.optimizers.Adam(0.01, amsgrad=True),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.01, momentum=0.5),
    "lion": lambda: keras.optimizers.Lion(0.003),
    "adafactor": lambda: keras.optimizers.Adafactor(0.01),
    "lamb": lambda: keras.optimizers.Lamb(0.01),
    "muon": lambda: keras.optimizers.Muon(0.01),
    "weight decay": lambda: keras.optimizers.SGD(0.05, momentum=0.9, weight_decay=0.1),
    "clipnorm": lambda: keras.optimizers.Adam(0.01, clipnorm=0.1),
    "global_clipnorm": lambda: keras.optimizers.SGD(0.05, momentum=0.9, global_clipnorm=0.1),
    "clipvalue": lambda: keras.optimizers.SGD(0.05, momentum=0.9, clipvalue=0.01),
    "averaged": lambda: keras.optimizers.SGD(0.05, use_ema=True, ema_momentum=0.9),
    "averaged and overwritten": lambda: keras.optimizers.SGD(
        0.05, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=3
    ),
    "accumulated": lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=2),
    "schedule free": lambda: keras.optimizers.ScheduleFreeAdamW(0.01, warmup_steps=2),
    "multi": lambda: keras.optimizers.MultiOptimizer(lambda v: keras.optimizers.Lamb(0.01)),
}
# The oldest Keras that tfshed runs with lacks one of them.
if not hasattr(keras.optimizers, "MultiOptimizer"):
    del OPTIMIZERS["multi"]
if not hasattr(keras.optimizers, "ScheduleFreeAdamW"):
    del OPTIMIZERS["schedule free"]
# And its Muon trains no TensorFlow variables.
if KERAS < (3, 13) and BACKEND == "tensorflow":
    del OPTIMIZERS["muon"]


def fit(model, epochs=3, callbacks=(), **options):
    """Twelve steps; the pruning ends at the sixth."""
    watch = ZerosAfterEveryStep()
    x, y = data()
    options = {"batch_size": 16, "verbose": 0, "shuffle": False, **options}
    model.fit(
        x, y, epochs=epochs, callbacks=[tfshed.UpdatePruningStep(), watch, *callbacks], **options
    )
    return watch


# Those that a backend treats in a way of its own.
SPECIAL = ("momentum", "adam", "muon", "global_clipnorm", "averaged and overwritten", "accumulated")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.backend] if n in SPECIAL else []) for n in OPTIMIZERS],
)
def test_zeros_stay_zero_after_every_step(name):
    model = pruned(OPTIMIZERS[name](), final=0.75, threshold=0.0)
    watch = fit(model)
    updates = 2 if name == "accumulated" else 1
    assert len(watch.kept) == 12 and watch.kept[6 * updates - 1 :] == [18] * (13 - 6 * updates)
    check_zeros(model, kept=18)
    # After the end of training, when moving averages are written into the weights, too.
    assert sum(np.count_nonzero(w) for w in kernels(model)) == 18


@pytest.mark.parametrize(
    "options",
    [
        {"jit": True},
        {"jit": False},
        {"fit": {"run_eagerly": True}, "jit": False},
        {"fit": {"steps_per_execution": 2}},
        {"net_options": {"kernel_constraint": MaxNorm()}},
        {"net_options": {"kernel_regularizer": "l2"}},
        {"dtype": "mixed_bfloat16"},
    ],
    ids=str,
)
@only_tensorflow
def test_zeros_stay_zero_however_the_step_is_run(options):
    model = pruned(keras.optimizers.Adam(0.01), threshold=0.0, **options)
    watch = fit(model)
    assert watch.kept[-1] == 18
    check_zeros(model, kept=18)


@pytest.mark.backend
def test_constraints_and_train_on_batch():
    model = pruned(
        keras.optimizers.Adam(0.01), threshold=0.0, net_options={"kernel_constraint": MaxNorm()}
    )
    ensure_pruning(model)
    x, y = data(16)
    for _ in range(8):
        model.train_on_batch(x, y)
        check_zeros(model)
    check_zeros(model, kept=18)


@pytest.mark.backend
def test_the_way_a_step_is_run_changes_nothing():
    """One run in each way; the masks agree to the bit, the weights but for rounding."""
    ways = [{"jit": jit} for jit in JIT]
    if BACKEND == "tensorflow":
        ways.append({"jit": False, "fit": {"run_eagerly": True}})
    runs = []
    for way in ways:
        model = pruned(keras.optimizers.SGD(0.05, momentum=0.9), criterion="random", **way)
        fit(model)
        runs.append(([to_numpy(m) for m in group(model).masks], kernels(model)))
    for masks, weights in runs:
        assert sum(m.sum() for m in masks) <= 18
        for a, b, w, v in zip(masks, runs[0][0], weights, runs[0][1]):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_allclose(w, v, rtol=1e-3, atol=1e-5)


@pytest.mark.backend
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_never_rounds_the_weights(policy):
    """With a rate of 0 what is kept must be what it was, to the bit."""
    keras.mixed_precision.set_dtype_policy(policy)
    model = pruned(keras.optimizers.SGD(0.0), threshold=0.0)
    before = kernels(model)
    assert any((w != w.astype("float16")).any() for w in before)
    fit(model)
    for w, old, mask in zip(kernels(model), before, group(model).masks):
        assert w.dtype == "float32"
        np.testing.assert_array_equal(w, np.where(to_numpy(mask), old, 0))
    check_zeros(model, kept=18)


@pytest.mark.backend
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_pure_half_precision_keeps_exactly_as_many(dtype):
    model = pruned(keras.optimizers.SGD(1e-3), dtype=dtype, threshold=0.0)
    fit(model)
    check_zeros(model, kept=18)


@pytest.mark.backend
def test_a_step_that_overflows_is_no_pruning_step():
    # Keras puts a LossScaleOptimizer around what is compiled then.
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    model = pruned(keras.optimizers.SGD(1e-3, momentum=0.9))
    ensure_pruning(model)
    outer = model.optimizer
    assert isinstance(outer.inner_optimizer, tfshed.PruningOptimizer)
    x, y = data(16)
    model.train_on_batch(x, y)
    before, masks = kernels(model), [to_numpy(m) for m in group(model).masks]
    scale = float(to_numpy(outer.dynamic_scale))
    model.train_on_batch(x, np.full_like(y, np.inf))
    assert float(to_numpy(outer.dynamic_scale)) == scale / 2
    assert int(to_numpy(outer.iterations)) == 1 and int(to_numpy(group(model).step)) == 1
    for w, old, m, was in zip(kernels(model), before, group(model).masks, masks):
        np.testing.assert_array_equal(w, old)
        np.testing.assert_array_equal(to_numpy(m), was)
    for _ in range(6):
        model.train_on_batch(x, y)
    assert int(to_numpy(group(model).step)) == 7
    check_zeros(model)


@pytest.mark.backend
def test_only_finished_steps_count_when_gradients_are_accumulated():
    model = pruned(keras.optimizers.SGD(1e-3, gradient_accumulation_steps=3), threshold=0.0)
    watch = fit(model)
    # Updates are due at steps 0 (nothing to prune), 2, 4, 6; twelve batches are four steps.
    assert len(set(watch.kept[:3])) == 1 and watch.kept[-1] == 72 - round(72 * 0.75 * 4 / 6)
    assert int(to_numpy(group(model).step)) == 4


def loss_of(model, x, y):
    return ops.mean(ops.square(model(x, training=True) - y))


def loop(model, optimizer, steps, eager=False):
    """A custom loop, as users of TensorFlow write it."""
    import tensorflow as tf

    x, y = data(16)

    def step():
        with tf.GradientTape() as tape:
            loss = loss_of(model, x, y)
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        )

    run = step if eager else tf.function(step)
    for _ in range(steps):
        run()


@only_tensorflow
@pytest.mark.parametrize("eager", [False, True])
def test_a_custom_loop_with_a_tape(eager):
    model = tfshed.prune_low_magnitude(net(), schedule(), scope="global", threshold=0.0)
    optimizer = tfshed.PruningOptimizer(keras.optimizers.SGD(0.05, momentum=0.9), model)
    optimizer.build(model.trainable_variables)
    loop(model, optimizer, 8, eager)
    masks = [to_numpy(m) for m in optimizer.groups[0].masks]
    assert sum(m.sum() for m in masks) == 18
    for w, mask in zip(kernels(model), masks):
        np.testing.assert_array_equal(w != 0, mask)


@only_tensorflow
@pytest.mark.parametrize("eager", [False, True])
def test_a_custom_loop_that_builds_the_optimizer_in_its_first_step(eager):
    plain = net()
    plain.layers[0].kernel.assign(plain.layers[0].kernel.numpy() * (np.arange(8) % 4 > 0))
    model = tfshed.prune_low_magnitude(Marked(plain), schedule(), scope="global", threshold=0.0)
    optimizer = tfshed.PruningOptimizer(keras.optimizers.Adam(0.01), model)
    loop(model, optimizer, 8, eager)
    masks = [to_numpy(m) for m in optimizer.groups[0].masks]
    assert sum(m.sum() for m in masks) == 18
    # Zero from the start was pruned already, and that was seen from inside of the graph.
    assert not masks[0][:, ::4].any()
    for w, mask in zip(kernels(model), masks):
        np.testing.assert_array_equal(w != 0, mask)


@only_tensorflow
def test_a_custom_loop_that_forgets_to_build_is_told_so():
    model = tfshed.prune_low_magnitude(net(), schedule(), scope="global")
    optimizer = tfshed.PruningOptimizer("sgd", model)
    with pytest.raises(RuntimeError, match="no optimizer prunes it"):
        loop(model, optimizer, 1, eager=True)


class Marked(keras.Model):
    """A subclassed model: it is marked and not wrapped."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.built = True

    def call(self, x, training=None):
        return self.inner(x, training=training)


def one_kernel(variable, **config):
    from tfshed.attach.group import PruningGroup
    from tfshed.attach.kernels import Kernel
    from tfshed.core.config import PruningConfig
    from tfshed.core.granularity import Axes

    fixed = {"threshold": 0.0, "hold_zeros": True}
    config = {"schedule": tfshed.OneShot(0.5, step=100), **fixed, **config}
    return PruningGroup(PruningConfig(**config), [Kernel(variable, Axes(0, 1), variable.name)])


@pytest.mark.backend
@pytest.mark.skipif(BACKEND != "jax", reason="a loop of pure functions")
def test_a_stateless_loop():
    import jax

    model = tfshed.prune_low_magnitude(net(), schedule(), scope="global", threshold=0.0)
    optimizer = tfshed.PruningOptimizer(keras.optimizers.Adam(0.01), model)
    optimizer.build(model.trainable_variables)
    x, y = data(16)

    def loss(trainable, fixed):
        out, _ = model.stateless_call(trainable, fixed, x, training=True)
        return ops.mean(ops.square(out - y))

    @jax.jit
    def step(trainable, fixed, state):
        grads = jax.grad(loss)(trainable, fixed)
        return optimizer.stateless_apply(state, grads, trainable)

    trainable = [v.value for v in model.trainable_variables]
    fixed = [v.value for v in model.non_trainable_variables]
    state = [v.value for v in optimizer.variables]
    for t in range(1, 9):
        trainable, state = step(trainable, fixed, state)
        zeros = sum(int((np.asarray(w) == 0).sum()) for w in trainable if w.ndim == 2)
        assert t < 6 or zeros == 54
    # Masks went through the state and were not baked into the step.
    assert sum(int(s.sum()) for s in state if s.dtype == bool) == 18


@pytest.mark.backend
@pytest.mark.skipif(BACKEND != "torch", reason="a loop of PyTorch")
def test_a_loop_of_torch():
    import torch

    model = tfshed.prune_low_magnitude(net(), schedule(), scope="global", threshold=0.0)
    optimizer = tfshed.PruningOptimizer(keras.optimizers.SGD(0.05, momentum=0.9), model)
    optimizer.build(model.trainable_variables)
    x, y = (torch.as_tensor(a) for a in data(16))
    for t in range(1, 9):
        model.zero_grad()
        loss_of(model, x, y).backward()
        grads = [v.value.grad for v in model.trainable_variables]
        with torch.no_grad():
            optimizer.apply(grads, model.trainable_variables)
        zeros = sum(int((w == 0).sum()) for w in kernels(model))
        assert t < 6 or zeros == 54


@pytest.mark.backend
def test_some_of_the_variables_in_another_order():
    a = keras.Variable(np.array([[0.0, 1.0], [2.0, 3.0]], "float32"), name="a")
    b = keras.Variable(np.array([[4.0, 5.0], [6.0, 0.0]], "float32"), name="b")
    bias = keras.Variable(np.zeros(2, "float32"), name="bias")
    optimizer = tfshed.PruningOptimizer(Replay(), [one_kernel(a), one_kernel(b)])
    optimizer.build([a, bias, b])
    new = [ops.full((2, 2), 7.0), ops.full((2, 2), 8.0), ops.full((2,), 9.0)]
    optimizer.apply(new[:1], [b])
    np.testing.assert_array_equal(to_numpy(a), [[0, 1], [2, 3]])
    np.testing.assert_array_equal(to_numpy(b), [[7, 7], [7, 0]])
    optimizer.apply([new[2], new[1], new[0]], [bias, b, a])
    np.testing.assert_array_equal(to_numpy(a), [[0, 7], [7, 7]])
    np.testing.assert_array_equal(to_numpy(b), [[8, 8], [8, 0]])
    np.testing.assert_array_equal(to_numpy(bias), [9, 9])


@pytest.mark.backend
@pytest.mark.parametrize("masked", [True, False, "auto"])
def test_what_the_inner_optimizer_sees_of_pruned_weights(masked):
    """A pruned weight must not use up the norm that gradients are clipped to."""
    start = np.array([[0.0, 1.0], [1.0, 1.0]], "float32")
    v = keras.Variable(start)
    inner = keras.optimizers.SGD(1.0, clipnorm=1.0)
    optimizer = tfshed.PruningOptimizer(inner, [one_kernel(v)], mask_gradients=masked)
    optimizer.build([v])
    optimizer.apply([ops.convert_to_tensor(np.array([[100.0, 1.0], [0.0, 0.0]], "float32"))], [v])
    moved = 1.0 - to_numpy(v)[0, 1]
    np.testing.assert_allclose(moved, 0.01 if masked is False else 1.0, rtol=1e-3)
    assert to_numpy(v)[0, 0] == 0


@pytest.mark.backend
@pytest.mark.parametrize(
    "name",
    [
        name
        for name in ("clipnorm", "global_clipnorm", "adafactor", "lamb", "muon", "multi", "adam")
        if name in OPTIMIZERS
    ],
)
def test_the_gradients_of_pruned_weights_do_not_reach_the_others(name):
    ends = []
    for size in (0.0, 100.0):
        start = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
        start[0] = 0
        v = keras.Variable(start, name="k")
        optimizer = tfshed.PruningOptimizer(OPTIMIZERS[name](), [one_kernel(v)])
        optimizer.build([v])
        gradient = np.random.default_rng(1).normal(size=(4, 4)).astype("float32")
        gradient[0] = size
        for _ in range(2):
            optimizer.apply([ops.convert_to_tensor(gradient)], [v])
        ends.append(to_numpy(v))
    assert not ends[0][0].any() and (ends[0][1:] != start[1:]).all()
    np.testing.assert_array_equal(ends[0], ends[1])


@pytest.mark.backend
def test_masks_made_anew_see_the_whole_of_an_accumulated_step():
    v = keras.Variable(np.array([[1.0, 2.0, 3.0, 4.0]], "float32"))
    inner = keras.optimizers.SGD(1.0, gradient_accumulation_steps=2)
    always = tfshed.ConstantSparsity(0.5, 0, frequency=1)
    optimizer = tfshed.PruningOptimizer(inner, [one_kernel(v, schedule=always, monotone=False)])
    optimizer.build([v])
    nothing, step = np.zeros((1, 4), "float32"), np.array([[-9.0, -8.0, 0, 0]], "float32")
    for gradient in (nothing, nothing, step, step):
        optimizer.apply([ops.convert_to_tensor(gradient)], [v])
    # Pruned by the first step, and back after the second.
    np.testing.assert_array_equal(to_numpy(v), [[9.0, 8.0, 0.0, 0.0]])


@only_tensorflow
def test_sparse_gradients_stay_sparse():
    import tensorflow as tf

    v = keras.Variable(np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], "float32"))
    optimizer = tfshed.PruningOptimizer(keras.optimizers.SGD(1.0, clipvalue=10.0), [one_kernel(v)])
    optimizer.build([v])
    rows = tf.IndexedSlices(tf.constant([[1.0, 1.0]]), tf.constant([0]), tf.constant([3, 2]))
    optimizer.apply([rows], [v])
    np.testing.assert_array_equal(to_numpy(v), [[0, 0], [2, 3], [4, 5]])


def test_the_rate_is_that_of_the_inner_optimizer():
    model = pruned(keras.optimizers.SGD(0.5))
    optimizer = ensure_pruning(model)
    assert float(to_numpy(optimizer.learning_rate)) == 0.5
    optimizer.learning_rate = 0.25
    assert float(to_numpy(optimizer.inner_optimizer.learning_rate)) == 0.25


@pytest.mark.backend
def test_callbacks_that_set_the_rate_work():
    model = pruned(keras.optimizers.SGD(0.05), threshold=0.0)
    rate = keras.callbacks.LearningRateScheduler(lambda epoch, lr: 0.01 * (epoch + 1))
    fit(model, epochs=2, callbacks=[rate])
    np.testing.assert_allclose(float(to_numpy(model.optimizer.learning_rate)), 0.02, rtol=1e-6)


def test_errors_say_what_is_wrong():
    v, other = keras.Variable(np.ones((2, 2))), keras.Variable(np.ones((2, 2)), name="other")
    with pytest.raises(ValueError, match="expected an optimizer without loss scaling"):
        tfshed.PruningOptimizer(
            keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()), [one_kernel(v)]
        )
    with pytest.raises(ValueError, match="expected one that does not prune"):
        tfshed.PruningOptimizer(tfshed.PruningOptimizer("sgd", [one_kernel(v)]))
    with pytest.raises(ValueError, match='expected True, False or "auto"'):
        tfshed.PruningOptimizer("sgd", [one_kernel(v)], mask_gradients="yes")
    with pytest.raises(TypeError, match="unknown arguments"):
        tfshed.PruningOptimizer("sgd", [one_kernel(v)], momentum=0.9)
    with pytest.raises(ValueError, match=r"expected prune=model"):
        tfshed.PruningOptimizer("sgd").build([v])
    with pytest.raises(ValueError, match=r"these are not: \['other'\]"):
        tfshed.PruningOptimizer("sgd", [one_kernel(other)]).build([v])


def test_the_chain_of_optimizers_is_found():
    v = keras.Variable(np.ones((2, 2)))
    inner = tfshed.PruningOptimizer("sgd", [one_kernel(v)])
    assert pruning_optimizer(keras.optimizers.LossScaleOptimizer(inner)) is inner
    assert pruning_optimizer(keras.optimizers.SGD()) is None and pruning_optimizer(None) is None


@pytest.mark.backend
@pytest.mark.parametrize("guard", [0.0, 0.1])
def test_ftrl_does_not_empty_a_net(guard):
    """Ftrl makes all weights anew from gradients, so nearly all are small after its first step."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(100, activation="relu"), keras.layers.Dense(4)]
    net = keras.Sequential([keras.Input((64,)), *layers])
    schedule = tfshed.ExponentialDecay(0.5, 20, end_step=200, frequency=100)
    model = tfshed.prune_low_magnitude(net, schedule, threshold=0.01, collapse_guard=guard)
    model.compile(keras.optimizers.Ftrl(0.001), "mse")
    x = np.random.default_rng(0).normal(size=(64, 64)).astype("float32")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        callbacks = [tfshed.UpdatePruningStep()]
        model.fit(x, x[:, :4], batch_size=32, epochs=2, verbose=0, callbacks=callbacks)
    left = [int(np.count_nonzero(ops.convert_to_numpy(layer.kernel))) for layer in layers]
    told = "(collapse_guard=0.1)" if guard else "the net has shed itself below"
    assert any(told in str(each.message) for each in caught)
    # The floor is 340: a tenth of the final half of 6,800 weights.
    assert left == [6400, 400] if guard else sum(left) < 340
