"""tf_keras models under tfshed.tfmot: every method, every way to train, exact zeros throughout."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tfshed
from tests.attach.tf_keras.nets import (
    L,
    check_zeros,
    data,
    fit,
    keep,
    kernels,
    net,
    prune,
    real,
    schedule,
    tf_keras,
)
from tfshed import learning_rates, tfmot
from tfshed.attach.tf_keras.hook import hook_of
from tfshed.attach.tf_keras.wrapped import wrappers_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:the net has shed itself"),
    pytest.mark.filterwarnings("ignore:training ended before the pruning schedule"),
]
SGD = tf_keras.optimizers.SGD


def image_net():
    return tf_keras.Sequential([L.Conv2D(8, 2, input_shape=(4, 4, 4)), L.Flatten(), L.Dense(3)])


METHODS = {
    "global": {"threshold": 0.0},
    "layer": {"scope": "layer"},
    "random": {"criterion": "random", "seed": 3, "threshold": 0.0},
    "tfmot's": {"monotone": False, "scope": "layer"},
    "4x1": {
        "granularity": tfshed.Block(4, 1),
        "weight_decay": tfshed.SelectiveWeightDecay(1e-2),
        "select": "conv",
        "threshold": 0.0,
    },
    "2:4": {"granularity": tfshed.NxM(2, 4), "select": "conv"},
}


@pytest.mark.parametrize("method", METHODS)
def test_methods(method):
    model = prune(image_net(), schedule(), **METHODS[method])
    kept = fit(model, data(4, 4, 4)[0], run_eagerly=True)
    assert kept[0] == 1.0 or method in ("2:4", "tfmot's")
    assert kept[-1] == pytest.approx(0.5 if method == "2:4" else 0.25, abs=0.01)
    # What they are in the eyes of tfmot.
    assert [type(w).__mro__[1].__module__.split(".")[0] for w in wrappers_of(model)] == [
        "tensorflow_model_optimization"
    ] * len(wrappers_of(model))
    if method == "global":
        halves = [np.count_nonzero(k) / k.size for k in kernels(model)]
        assert abs(halves[0] - halves[1]) > 0.02
    if method == "4x1":
        blocks = kernels(model)[0].reshape(2, 2, 1, 4, 8) != 0
        np.testing.assert_array_equal(blocks.all(axis=3), blocks.any(axis=3))


def test_shedding_counts_and_keep_ratio(tmp_path):
    # A legacy optimizer hands out its learning rate in another way.
    rate = tfmot.LearningRate(learning_rates.MultiStep((0.05, 0.01), (2,), steps_per_epoch=4))
    for kind in (tf_keras.optimizers.legacy.SGD, SGD):
        model, tracking = (
            prune(net(), schedule()),
            tfmot.KeepRatio(tmp_path, validation_data=data()),
        )
        callbacks = [tracking, tfmot.UpdatePruningStep()]
        kept = fit(model, optimizer=kind(rate, momentum=0.9), callbacks=callbacks, run_eagerly=True)
        rows = [r for r in tracking.history if r["event"] == "epoch"]
        assert [r["actual"] for r in rows] == pytest.approx([kept[3], kept[7], kept[11]])
        last = tracking.history[-1]
        assert last["scheduled"] + last["shed"] == 144 - round(144 * kept[-1])
        assert last["shed"] > 0 and last["threshold"] > 1e-4 and "val_loss" in last
        assert model.history.history["keep_actual"][-1] == kept[-1]
        assert rows[0]["learning_rate"] == pytest.approx(0.05)
        assert rows[-1]["learning_rate"] == pytest.approx(0.01)
    assert (tmp_path / "keep_ratio.csv").exists()


EAGER = {"run_eagerly": True}
WAYS = {
    "XLA": (lambda: SGD(0.02, momentum=0.9), {"jit_compile": True}),
    "graph": (lambda: SGD(0.02, momentum=0.9), {"steps_per_execution": 2}),
    "legacy": (lambda: tf_keras.optimizers.legacy.Adam(0.01), EAGER),
    "clipped": (lambda: tf_keras.optimizers.Adam(0.01, global_clipnorm=1.0), EAGER),
    "averaged": (lambda: SGD(0.01, use_ema=True, ema_overwrite_frequency=3), EAGER),
    "averaged at the end": (lambda: SGD(0.01, use_ema=True), EAGER),
}


@pytest.mark.parametrize("way", WAYS)
def test_ways_to_train(way):
    optimizer, options = WAYS[way]
    model = prune(net(), schedule(), threshold=0.0)
    kept = fit(model, optimizer=optimizer(), **options)
    assert kept[-1] == pytest.approx(0.25, abs=0.003)
    # After the averages were written over the weights, too.
    assert keep(model) == kept[-1]


@pytest.mark.parametrize("legacy", [False, True])
def test_mixed_precision_leaves_the_float32_weights_alone(legacy):
    tf_keras.mixed_precision.set_global_policy("mixed_float16")
    plain = net(dtype="float32")
    before = plain.get_weights()[0]
    assert (before != before.astype("float16")).any()
    model = prune(plain, schedule(), threshold=0.0)
    assert model(data()[0]).dtype == tf.float32
    assert model.layers[0](data()[0]).dtype == tf.float16
    model.predict(data()[0], verbose=0)
    np.testing.assert_array_equal(plain.get_weights()[0], before)
    kind = tf_keras.optimizers.legacy.SGD if legacy else SGD
    kept = fit(model, optimizer=kind(0.01, momentum=0.9), epochs=4, run_eagerly=legacy)
    assert kept[-1] == pytest.approx(0.25, abs=0.003)


def replicas(variable):
    values = [v.numpy() for v in variable.values]
    assert len(values) == 2
    return values


def collectives(model, x, y):
    """How many collective operations are in the graph of a training step."""
    dataset = model.distribute_strategy.experimental_distribute_dataset(
        tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
    )
    graph = model.make_train_function().get_concrete_function(iter(dataset)).graph.as_graph_def()
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    return sum("Collective" in n.op and "Reduce" in n.op for n in nodes)


@pytest.mark.parametrize("mixed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_replicas_prune_alike_and_send_nothing(mixed):
    if mixed:
        tf_keras.mixed_precision.set_global_policy("mixed_float16")
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    found = {}
    for kind in ("unpruned", "ours", "tfmot"):
        if mixed and kind == "tfmot":
            continue
        with strategy.scope():
            model = net(dtype="float32")
            if kind == "ours":
                model = prune(model, schedule(), threshold=0.0)
            if kind == "tfmot":
                model = real.prune_low_magnitude(model, schedule())
            model.compile(SGD(0.01, momentum=0.9), "mse")
        if kind == "ours":
            fit(model, optimizer=False, epochs=4, callbacks=[tfmot.UpdatePruningStep()])
            assert keep(model) == pytest.approx(0.25, abs=0.003)
            for wrapper in wrappers_of(model):
                for variable in (*wrapper.pruning_vars[0], wrapper.pruning_step):
                    np.testing.assert_array_equal(*replicas(variable))
        found[kind] = collectives(model, *data())
    assert found["ours"] == found["unpruned"] > 0
    assert mixed or found["tfmot"] > found["unpruned"]


def test_nested_and_shared_layers():
    shared, inputs = L.Dense(6, name="shared"), tf_keras.Input((6,))
    plain = tf_keras.Model(inputs, L.Dense(3, name="head")(net()(shared(shared(inputs)))))
    model = prune(plain, schedule(), threshold=0.0)
    names = [f"prune_low_magnitude_{name}" for name in ("shared", "a", "b", "head")]
    assert [w.name for w in wrappers_of(model)] == names
    assert len(tfmot.collect_prunable_layers(model)) == 4
    assert fit(model)[-1] == pytest.approx(0.25, abs=0.003)
    # A layer that is called twice has taken a step once.
    assert int(model.get_layer("prune_low_magnitude_shared").pruning_step) == 12
    x, _ = data()
    for stripped in (tfshed.strip_pruning(model), real.strip_pruning(model)):
        assert stripped.get_config() == plain.get_config()
        np.testing.assert_array_equal(stripped(x), model(x))
    assert hook_of(model.optimizer) is None


SEVERAL = {
    # layers -> how many kernels each has
    "recurrent": (
        lambda: [
            L.Embedding(20, 8, mask_zero=True, input_length=3),
            L.Bidirectional(L.LSTM(4, return_sequences=True)),
            L.GRU(4),
        ],
        (3,),
        [4, 2, 1],
    ),
    "kinds": (
        lambda: [
            L.Rescaling(0.5),
            L.SeparableConv2D(8, 2),
            L.DepthwiseConv2D(2),
            L.PReLU(),
            L.Conv2DTranspose(4, 2),
            L.GroupNormalization(2),
            L.Flatten(),
            L.EinsumDense("ab,bc->ac", output_shape=8, activity_regularizer="l2"),
        ],
        (5, 5, 4),
        [1, 1, 1, 1],
    ),
}


@pytest.mark.parametrize("kind", SEVERAL)
def test_layers_that_tfmot_refuses_or_breaks(kind):
    make, shape, expected = SEVERAL[kind]
    plain = tf_keras.Sequential([tf_keras.Input(shape), *make(), L.Dense(3)])
    x = np.abs(data(*shape)[0] * 7) % 20 // 1 if kind == "recurrent" else data(*shape)[0]
    before = plain(x)
    model = prune(plain, schedule(), threshold=0.0)
    # Keras' masks, regularization losses and all.
    np.testing.assert_array_equal(model(x), before)
    assert len(model.losses) == len(plain.losses)
    assert [len(w.pruning_vars) for w in wrappers_of(model)] == expected
    assert fit(model, x, run_eagerly=True, epochs=2)[-1] == pytest.approx(0.25, abs=0.01)


def test_layers_without_kernels_are_not_wrapped():
    assert prune([L.ReLU()], schedule())[0].name.startswith("re_lu")


def test_wrapped_layers_that_are_built_later():
    attention = prune(L.MultiHeadAttention(2, 4), schedule(), threshold=0.0)
    inputs = tf_keras.Input((5, 6))
    head = L.Dense(3)(L.GlobalAveragePooling1D()(attention(inputs, inputs)))
    model = tf_keras.Model(inputs, head)
    assert fit(model, data(5, 6)[0], run_eagerly=True)[-1] == pytest.approx(0.25, abs=0.003)
    assert len(attention.pruning_vars) == 4
    # A wrapper around a layer that turns out to have none does no harm.
    model = tf_keras.Sequential(
        prune(
            [L.Dense(16), L.Normalization(mean=0.0, variance=1.0), L.Dense(3)],
            schedule(),
            threshold=0.0,
        )
    )
    fit(model, callbacks=[tfmot.UpdatePruningStep()], run_eagerly=True)
    assert [len(wrapper.pruning_vars) for wrapper in model.layers] == [1, 0, 1]
    assert keep(model) == pytest.approx(0.25, abs=0.003)


def test_frozen_layers_and_zeros_that_are_there():
    plain = net()
    plain.layers[0].trainable = False
    weight, *others = plain.layers[2].get_weights()
    weight[:4] = 0
    plain.layers[2].set_weights([weight, *others])
    before = plain.layers[0].get_weights()[0]
    # Frozen when it is wrapped, and declared all the same: it may be thawed.
    model = prune(plain, tfshed.ConstantSparsity(0.5, 100), hold_zeros=True)
    assert fit(model, run_eagerly=True)[0] == (96 + 36) / 144
    np.testing.assert_array_equal(plain.layers[0].get_weights()[0], before)


def test_layers_frozen_between_two_fits_are_left_alone():
    model = prune(net(), tfshed.ConstantSparsity(0.5, 0, frequency=1), threshold=0.0)
    optimizer = SGD(0.02)
    fit(model, optimizer=optimizer, epochs=1, run_eagerly=True)
    model.layers[0].trainable = False
    before = [k.copy() for k in kernels(model)]
    fit(model, optimizer=optimizer, epochs=1, run_eagerly=True)
    after = kernels(model)
    np.testing.assert_array_equal(after[0], before[0])
    assert (after[1] != before[1]).any() and np.count_nonzero(after[1]) == 24
    # Thawed, it goes on at the step of the others.
    model.layers[0].trainable = True
    fit(model, optimizer=optimizer, epochs=1, run_eagerly=True)
    assert [int(w.pruning_step) for w in wrappers_of(model)] == [12, 12]


def test_a_custom_loop():
    model = prune(net(), schedule(), threshold=0.0)
    optimizer = SGD(0.02, momentum=0.9)
    model.optimizer = optimizer
    callback, (x, y) = tfmot.UpdatePruningStep(), data()
    callback.set_model(model)
    callback.on_train_begin()
    for _ in range(10):
        callback.on_train_batch_begin(batch=-1)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        check_zeros(model)
    callback.on_epoch_end(batch=-1)
    assert keep(model) == 0.25


def test_with_tfmots_own_callbacks(tmp_path):
    model = prune(net(), schedule(), threshold=0.0)
    callbacks = [real.UpdatePruningStep(), real.PruningSummaries(str(tmp_path))]
    assert fit(model, callbacks=callbacks)[-1] == pytest.approx(0.25, abs=0.003)
    assert any((tmp_path / "metrics").iterdir())


def test_training_that_would_not_prune_is_an_error():
    loose = tf_keras.Sequential([prune(L.Dense(3, input_shape=(6,)), schedule())])
    loose.compile("sgd", "mse")
    with pytest.raises(RuntimeError, match="no optimizer prunes it"):
        loose.fit(*data(), verbose=0)
    # Inference is none of the pruning's business.
    loose.predict(data()[0], verbose=0)
    # Compiled anew, bound anew.
    fit(loose, callbacks=[tfmot.UpdatePruningStep()])
    loose.compile("sgd", "mse")
    with pytest.raises(RuntimeError, match="no optimizer prunes it"):
        loose.fit(*data(), verbose=0)
    with pytest.raises(ValueError, match="without an optimizer"):
        tfmot.bind(prune(net(), schedule()))
    with pytest.raises(TypeError, match="expected a tf_keras model"):
        tfmot.UpdatePruningStep().set_model(3)


def test_an_empty_kernel_is_warned_of():
    model = prune(net(), tfshed.ConstantSparsity(0.5, 0), threshold=10.0, collapse_guard=0)
    with pytest.warns(UserWarning, match="nothing is left of [ab]/kernel") as found:
        fit(model, epochs=1, run_eagerly=True)
    empty = [str(w.message) for w in found if "nothing is left" in str(w.message)]
    assert [text.split()[4] for text in empty] == ["a/kernel:", "b/kernel:"]


def test_tfmots_way_has_no_update_before_training():
    # Due at step 0 and then at step 100.
    model = prune(net(), tfshed.ConstantSparsity(0.5, 0), monotone=False)
    tracking = tfmot.KeepRatio()
    fit(model, epochs=1, callbacks=[tfmot.UpdatePruningStep(), tracking], run_eagerly=True)
    assert keep(model) == 1.0
    assert [(row["event"], row["target"]) for row in tracking.history] == [("epoch", 1.0)]


@pytest.mark.parametrize("criterion", ["taylor", "movement"])
@pytest.mark.parametrize("optimizer", ["SGD", "legacy"])
def test_criteria_by_gradients(criterion, optimizer):
    """Scores are what NumPy makes of the gradients, and the lowest go."""
    model = tf_keras.Sequential([tf_keras.layers.Dense(3, use_bias=False, input_shape=(6,))])
    before = model.get_weights()[0]
    model = tfshed.prune_low_magnitude(
        model, tfshed.ConstantSparsity(0.5, 2, frequency=100), criterion=criterion
    )
    kind = tf_keras.optimizers.legacy.SGD if optimizer == "legacy" else tf_keras.optimizers.SGD
    model.compile(kind(0.1), "mse")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 6)).astype("float32"), rng.normal(size=(8, 3)).astype("float32")
    model.fit(x, y, batch_size=8, epochs=2, verbose=0, callbacks=[tfshed.tfmot.UpdatePruningStep()])
    weight, score = before.copy(), 0.0
    for t in (1, 2):
        gradient = 2 * x.T @ (x @ weight - y) / y.size
        if criterion == "taylor":
            score = score + (np.abs(weight * gradient) - score) / t
        else:
            score = score - weight * gradient
        weight = weight - 0.1 * gradient
    kept = np.ones(18, bool)
    kept[np.argsort(score.ravel(), kind="stable")[:9]] = False
    after = model.layers[0].layer.get_weights()[0]
    np.testing.assert_array_equal(after != 0, kept.reshape(6, 3))
    np.testing.assert_allclose(after[after != 0], weight[after != 0], rtol=1e-4)
    name = {"taylor": "average", "movement": "movement"}[criterion]
    found = model.layers[0].state[0].criterion[name].numpy()
    np.testing.assert_allclose(found, score, rtol=1e-4, atol=1e-6)
