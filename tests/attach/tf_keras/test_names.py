"""All of tfmot's public names are here, take the same calls, and say what is wrong with others."""

from __future__ import annotations

import inspect

import keras
import numpy as np
import pytest

import tfshed
from tests.attach.tf_keras.nets import net, prune, real, schedule, tf_keras
from tfshed import tfmot
from tfshed.attach.latency import PruneForLatencyOnXNNPack
from tfshed.attach.prune_registry import PruneRegistry, collect_prunable_layers
from tfshed.attach.tf_keras.real import prune_registry, tensorflow_model_optimization

NAMES = [name for name in dir(real) if not name.startswith("_")]


# Keras 3 calls the methods of its callbacks with names of its own.
CALLBACKS = ("PruningSummaries", "UpdatePruningStep")


def named(function):
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in inspect.signature(function).parameters.values() if p.kind in kinds]


def calls(home, name):
    """What users call under this name: pairs of tfmot's and ours."""
    theirs, ours = getattr(real, name), getattr(home, name)
    if not inspect.isclass(theirs):
        return [(theirs, ours)]
    # The base of schedules hands private helpers to its subclasses.
    private = "__" if name == "PruningSchedule" else "_"
    methods = [m for m, f in vars(theirs).items() if callable(f) and not m.startswith(private)]
    if home is tfshed and name in CALLBACKS:
        methods = []
    found = [(getattr(theirs, m), getattr(ours, m)) for m in methods]
    return found if name.startswith("Prun") and home is tfshed else [(theirs, ours), *found]


@pytest.mark.parametrize("home", [tfshed, tfmot, tfmot.sparsity.keras], ids=lambda m: m.__name__)
def test_names_and_signatures(home):
    assert len(NAMES) == 11
    for one, other in (pair for name in NAMES for pair in calls(home, name)):
        names = named(one)
        assert named(other)[: len(names)] == names, (one, other)
        # By place and by name.
        signature = inspect.signature(other)
        signature.bind(*names)
        signature.bind(**dict.fromkeys(names))


def test_the_registry():
    for module in (keras, tf_keras):
        layers = module.layers
        embedding = layers.Embedding(5, 4)
        dense = layers.Dense(4)
        dense.build((None, 8))
        for layer in (dense, embedding, layers.Bidirectional(layers.LSTM(2))):
            assert PruneRegistry.supports(layer)
        assert PruneRegistry.make_prunable(dense) is dense
        assert [w.shape for w in dense.get_prunable_weights()] == [(8, 4)]
        # Asked twice, and with the layer in a model.
        PruneRegistry.make_prunable(dense)
        model = module.Sequential([module.Input((3, 8)), dense])
        pruned = prune(model, tfshed.ConstantSparsity(0.5, 0))
        assert [w.name for w in collect_prunable_layers(pruned)] == [pruned.layers[-1].name]
        assert not PruneRegistry.supports(3)
    with pytest.raises(TypeError, match="builtins.int"):
        PruneRegistry.make_prunable(3)
    # Where tfmot says which kernels, it says the same.
    ours, theirs = (tf_keras.layers.LSTM(4) for _ in range(2))
    for layer in (ours, theirs):
        layer.build((None, 3, 2))
    PruneRegistry.make_prunable(ours)
    prune_registry.PruneRegistry.make_prunable(theirs)
    assert [w.shape for w in ours.get_prunable_weights()] == [
        w.shape for w in theirs.get_prunable_weights()
    ]


def mobile(module, change=None):
    """A net that XNNPACK runs sparse; `change` is one place where it does not."""
    layers, pad = module.layers, module.layers.ZeroPadding2D
    inputs = module.Input((16, 16, 3))
    x = pad(1)(inputs)
    x = layers.Conv2D(4, 3, strides=2, padding="same" if change == "start" else "valid")(x)
    # One that neither takes: ours takes some that tfmot refuses, such as tanh, since they run.
    activation = "softsign" if change == "activation" else "relu6"
    x = layers.Activation(activation)(layers.BatchNormalization()(x))
    if change == "dilated":
        x = layers.DepthwiseConv2D(3, padding="same", dilation_rate=2)(x)
    x = layers.DepthwiseConv2D(3, strides=2)(pad(1)(x))
    y = layers.ReLU()(layers.Conv2D(8, 1, name="point")(x))
    y = layers.Conv2D(4, 3 if change == "wide" else 1, padding="same")(y)
    x = layers.Add()([x, layers.DepthwiseConv2D(5, padding="same")(y)])
    if change == "softmax":
        x = layers.Softmax()(x)
    x = layers.MaxPooling2D(2)(x) if change == "pooling" else x
    x = layers.GlobalAveragePooling2D(keepdims=True)(x) if change != "end" else x
    return module.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))


CHANGES = ["start", "activation", "dilated", "wide", "softmax", "pooling", "end", None]


def outcome(module, policy, change):
    try:
        pruned = prune(mobile(module, change), schedule(), pruning_policy=policy)
    except ValueError as error:
        assert module is tf_keras or "pruning_policy: expected" in str(error)
        return "refused"
    return [layer.name.startswith("prune") for layer in pruned.layers]


def test_the_latency_policy_says_what_tfmot_says():
    for change in CHANGES:
        theirs = outcome(tf_keras, real.PruneForLatencyOnXNNPack(), change)
        assert (theirs == "refused") == (change is not None), change
        for module in (tf_keras, keras):
            assert outcome(module, PruneForLatencyOnXNNPack(), change) == theirs, (module, change)


def test_the_latency_policy_sees_into_nested_models():
    inner, inputs = mobile(keras), keras.Input((16, 16, 3))
    PruneForLatencyOnXNNPack().ensure_model_supports_pruning(keras.Model(inputs, inner(inputs)))
    with pytest.raises(ValueError, match="built Sequential or functional"):
        PruneForLatencyOnXNNPack().ensure_model_supports_pruning(keras.Sequential([]))


class Odd(tf_keras.Model):
    def call(self, inputs):
        return inputs


def weights_of(bad):
    plain = net()
    weight, *others = plain.layers[0].get_weights()
    weight[0, 0] = bad
    plain.layers[0].set_weights([weight, *others])
    return plain


ERRORS = {
    "number": (lambda: 3, TypeError, "received builtins.int"),
    "both Keras": (
        lambda: [tf_keras.layers.Dense(2), keras.layers.Dense(2)],
        TypeError,
        "all of one Keras, received keras",
    ),
    "callback": (
        tf_keras.callbacks.Callback,
        TypeError,
        "received tf_keras.src.callbacks.Callback",
    ),
    "subclassed": (Odd, ValueError, "subclassed Odd"),
    "nan": (lambda: weights_of(np.nan), ValueError, "NaN or infinity in .'a/kernel'"),
    "empty": (list, ValueError, "at least one layer"),
}


def test_errors_name_what_came():
    for make, error, message in ERRORS.values():
        with pytest.raises(error, match=message):
            prune(make(), schedule())


def test_a_model_without_kernels_is_told_and_left_alone():
    model = tf_keras.Sequential([tf_keras.layers.ReLU(input_shape=(3,))])
    with pytest.warns(UserWarning, match="is to be pruned: it has no kernels"):
        assert prune(model, schedule()).layers[0].name == model.layers[0].name


def test_selecting_in_tf_keras():
    model = prune(net(), schedule(), select="^b/")
    assert [layer.name for layer in model.layers] == ["a", "norm", "prune_low_magnitude_b"]
    with pytest.raises(ValueError, match="Nearest.*a/kernel"):
        prune(net(), schedule(), select="a/kernal")
    with pytest.raises(TypeError, match="an unknown argument 'colour'"):
        prune(net(), schedule(), colour="red")


def test_what_tfmot_has_beside_pruning_is_tfmots_own():
    for name in ("quantization", "clustering", "experimental"):
        assert getattr(tfmot, name) is getattr(tensorflow_model_optimization, name)
        assert name in dir(tfmot)


def test_a_pruned_model_goes_on_with_tfmots_quantization_and_clustering():
    """As docs/migration.md says: prune, strip, then tfmot's own, which keeps the zeros."""
    layers = [tf_keras.layers.Dense(16, input_shape=(6,)), tf_keras.layers.Dense(3)]
    model = prune(tf_keras.Sequential(layers), tfmot.ConstantSparsity(0.5, 0, frequency=1))
    x, y = np.ones((8, 6), "float32"), np.ones((8, 3), "float32")
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(x, y, verbose=0, callbacks=[tfmot.UpdatePruningStep()])
    plain = tfmot.strip_pruning(model)
    zeros = [kernel == 0 for kernel in plain.get_weights() if kernel.ndim == 2]

    quantization, combine = tfmot.quantization.keras, tfmot.experimental.combine
    scheme = combine.Default8BitPrunePreserveQuantizeScheme()
    aware = quantization.quantize_apply(quantization.quantize_annotate_model(plain), scheme)
    aware.compile("sgd", "mse", run_eagerly=True)
    aware.fit(x, y, verbose=0)
    trained = [w.numpy() for w in aware.weights if w.name.endswith("kernel:0")]
    for kernel, were in zip(trained, zeros, strict=True):
        assert were.mean() == 0.5 and not kernel[were].any()

    clustering = tfmot.clustering.keras
    clustered = clustering.strip_clustering(
        clustering.cluster_weights(
            plain,
            number_of_clusters=4,
            cluster_centroids_init=clustering.CentroidInitialization.LINEAR,
        )
    )
    assert all(len(np.unique(k)) <= 4 for k in clustered.get_weights() if k.ndim == 2)
