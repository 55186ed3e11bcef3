"""tfshed.export.shrink: what goes, what stays and why, and that outputs stay as they were."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

import tfshed
from tests import nets
from tfshed import models
from tfshed.export import shrink


def randomise(model, seed=0):
    """Random biases and BatchNorm statistics: behind them a dead filter's constant is not zero."""
    random = np.random.default_rng(seed)
    for v in model.variables:
        if v.name in ("beta", "bias", "moving_mean", "alpha"):
            v.assign(random.normal(size=v.shape))
        elif v.name in ("gamma", "moving_variance"):
            v.assign(random.uniform(0.5, 1.5, v.shape))
    return model


def kill(model, **dead):
    """Zeros the filters of these numbers in the layers of these names."""
    for name, filters in dead.items():
        layer = model.get_layer(name)
        variable = getattr(layer, "pointwise_kernel", None)
        variable = layer.kernel if variable is None else variable
        kernel = nets.array(variable).copy()
        if isinstance(layer, layers.Conv2DTranspose | layers.DepthwiseConv2D):
            kernel[..., filters, :] = 0
        else:
            kernel[..., filters] = 0
        variable.assign(kernel)
    return model


def outputs(model, seed=0):
    random = np.random.default_rng(seed)
    x = [random.normal(size=[3 if s is None else s for s in t.shape]) for t in model.inputs]
    made = model(x if len(x) > 1 else x[0], training=False)
    return [nets.array(y) for y in keras.tree.flatten(made)]


def shrunk(model):
    """Shrinks, and compares by itself: outputs, names, and the old model with what it was."""
    before, weights = outputs(model), model.get_weights()
    new, report = shrink(model)
    for a, b in zip(before, outputs(new), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(a).max(), rtol=0)
    for a, b in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [x.name for x in new.layers] == [x.name for x in model.layers]
    assert new.output_shape == model.output_shape and new.input_shape == model.input_shape
    assert report.parameters == (model.count_params(), new.count_params())
    assert report.difference < 1e-5 and str(report)
    return new, report


def filters(report):
    return {row.name: row.filters[1] for row in report.rows if row.filters}


def conv_net(padding="valid", **conv):
    net = keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            layers.Conv2D(8, 3, padding=padding, name="a", **conv),
            layers.BatchNormalization(name="bn"),
            layers.ReLU(),
            layers.Conv2D(5, 3, padding=padding, name="b", use_bias=False),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(6, "tanh", name="c"),
            layers.Dense(3, "softmax", name="head"),
        ]
    )
    return randomise(net)


@pytest.mark.backend
def test_a_sequential_model_without_its_dead_filters(tmp_path):
    model = kill(conv_net(), a=[0, 2, 7], b=[1], c=[0, 5])
    # Behind the ReLU some constants are zero and some are not.
    model.get_layer("bn").beta.assign(np.array([2, 0, 1, 0, 0, 0, 0, -9], "float32"))
    new, report = shrunk(model)
    assert filters(report) == {"a": 5, "bn": 5, "b": 4, "c": 4, "head": 3}
    # b had no bias: now it has one, for the constants behind a.
    assert report.parameters[1] == (95 + 20) + (5 * 9 * 4 + 4) + (16 + 1) * 4 + 15
    assert report.flops == (
        2 * (36 * 144 + 16 * 360 + 20 * 6 + 18),
        2 * (36 * 90 + 16 * 180 + 16 * 4 + 12),
    )
    assert report.left == [] and not new.compiled
    new.save(tmp_path / "new.keras")
    again = keras.models.load_model(tmp_path / "new.keras")
    np.testing.assert_array_equal(outputs(again)[0], outputs(new)[0])
    assert json.loads(json.dumps(report.to_dict()))["parameters"] == list(report.parameters)


def test_at_padding_one_constant_carries_the_others():
    model = kill(conv_net("same"), a=[0, 2, 4, 7])
    model.get_layer("bn").beta.assign(np.full(8, 2, "float32"))
    report = shrunk(model)[1]
    assert filters(report)["a"] == 5
    (left,) = report.left
    assert (left.name, left.filters) == ("a", 1) and "borders of b" in left.reason
    assert "a: 1 dead filter: it stands for" in str(report)
    model.get_layer("bn").beta.assign(np.zeros(8, "float32"))
    model.get_layer("bn").moving_mean.assign(np.zeros(8, "float32"))
    model.get_layer("a").bias.assign(np.zeros(8, "float32"))
    report = shrunk(model)[1]
    assert filters(report)["a"] == 4 and report.left == []


def test_what_nobody_reads_goes_back_to_where_it_is_made():
    model = randomise(
        keras.Sequential(
            [
                keras.Input((4,)),
                *(layers.Dense(n, "relu", name=x) for n, x in zip((6, 5, 4, 2), "abcd")),
            ]
        )
    )
    # d does not read c's unit 1; only that one reads b's unit 0; only that one a's units 2 and 3.
    for name, put in (("d", np.s_[1, :]), ("c", np.s_[0, [0, 2, 3]]), ("b", np.s_[[2, 3], 1:])):
        kernel = nets.array(model.get_layer(name).kernel).copy()
        kernel[put] = 0
        model.get_layer(name).kernel.assign(kernel)
    assert filters(shrunk(model)[1]) == {"a": 4, "b": 4, "c": 3, "d": 2}


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_residual_connections_lose_what_is_dead_in_all_summands(shortcut):
    model = randomise(models.resnet(8, (8, 8, 3), width=6, shortcut=shortcut, seed=0))
    # Shortcut A moves the channels of a stage to the middle of those of the next, between zeros.
    for stage, move in (1, 0), (2, 3), (3, 9):
        dead = np.array([0, 3, 4]) + (move if shortcut == "A" else 0)
        kill(model, **{f"stage{stage}_block1_conv2": dead})
        if stage == 1:
            kill(model, stem_conv=dead)
        elif shortcut == "B":
            kill(model, **{f"stage{stage}_block1_shortcut_conv": dead})
    kill(model, stage1_block1_conv1=[5], stage2_block1_conv1=[1, 2, 9])
    kill(model, stage2_block1_conv2=[1], stage3_block1_conv2=[7])
    # Summand by summand the constants add up; where they are zero nothing keeps them.
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.beta.assign(np.full(layer.beta.shape, -5, "float32"))
    left = filters(shrunk(model)[1])
    assert left["stem_conv"] == left["stage1_block1_conv2"] == 3
    assert (left["stage1_block1_conv1"], left["stage2_block1_conv1"]) == (5, 9)
    # Channel 1 of the second stage, 7 of the third: alive in projections, zero in padding.
    more = 1 if shortcut == "A" else 0
    assert left["stage2_block1_conv2"] == 9 - more
    assert left["stage3_block1_conv2"] == 21 - more
    # A filter that is dead in one summand only stays.
    alive = kill(models.resnet(8, (8, 8, 3), width=6, shortcut=shortcut), stem_conv=[0, 1])
    report = shrunk(alive)[1]
    assert filters(report)["stem_conv"] == 6
    assert {x.name for x in report.left} == {"stem_conv"}
    assert report.left[0].reason == "it is merged with channels that vary in stage1_block1_add"


def mobile():
    """Inverted residual with squeeze-and-excite, as in MobileNetV3."""
    image = keras.Input((6, 6, 3))
    x = layers.Conv2D(8, 1, padding="same", name="expand")(image)
    x = layers.Activation("hard_swish")(layers.BatchNormalization(name="bn")(x))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="deep")(x)
    x = layers.LeakyReLU()(layers.BatchNormalization(name="bn2")(x))
    s = layers.GlobalAveragePooling2D(keepdims=True)(x)
    s = layers.Conv2D(4, 1, activation="relu", name="squeeze")(s)
    s = layers.Conv2D(8, 1, name="excite")(s)
    s = layers.ReLU(6.0)(s + 3.0) * (1.0 / 6.0)
    x = layers.Multiply()([x, s])
    x = layers.Conv2D(5, 1, padding="same", name="project")(x)
    x = layers.Reshape((36, 5))(x)
    return keras.Model(image, layers.Dense(2, name="head")(layers.Flatten()(x)))


def test_depthwise_filters_and_squeeze_and_excite_go_with_their_channel():
    model = kill(randomise(mobile()), expand=[1, 6], deep=[1, 6, 7], squeeze=[2], project=[0])
    for name in ("bn", "bn2"):
        for v in ("beta", "moving_mean"):
            getattr(model.get_layer(name), v).assign(np.zeros(8, "float32"))
    model.get_layer("expand").bias.assign(np.zeros(8, "float32"))
    left = filters(shrunk(model)[1])
    # Channel 7 is dead behind the depthwise filter, which takes its expansion along.
    both = dict.fromkeys(("expand", "bn", "deep", "bn2", "excite"), 5)
    assert left == {**both, "squeeze": 3, "project": 4, "head": 2}


def test_joined_branches_lose_their_own_filters():
    image = keras.Input((6, 6, 3))
    a = layers.Conv2D(4, 1, activation="relu", name="a")(image)
    b = layers.Conv2D(5, 3, padding="same", name="b")(image)
    c = layers.AveragePooling2D(3, 1, padding="same")(layers.Conv2D(3, 1, name="c")(image))
    x = layers.Concatenate()([a, b, c])
    x = layers.Conv2D(4, 3, activation="relu", name="d")(layers.BatchNormalization(name="bn")(x))
    model = keras.Model(image, layers.Dense(2, name="head")(layers.GlobalMaxPooling2D()(x)))
    kill(randomise(model), a=[0, 1], b=[4], c=[2], d=[3])
    model.get_layer("c").bias.assign(np.zeros(3, "float32"))
    left = filters(shrunk(model)[1])
    assert left == {"a": 2, "b": 4, "c": 2, "bn": 8, "d": 3, "head": 2}


MIDDLES = {
    "transposed": lambda: [layers.Conv2DTranspose(7, 3, 2, padding="same", name="m")],
    "separable": lambda: [layers.SeparableConv2D(7, 3, depth_multiplier=2, name="m")],
    "padded separable": lambda: [layers.SeparableConv2D(7, 3, padding="same", name="m")],
    "multiplier": lambda: [layers.DepthwiseConv2D(2, depth_multiplier=2, name="m")],
    "up and crop": lambda: [layers.UpSampling2D(), layers.Cropping2D(1), layers.Conv2D(7, 2)],
    "prelu": lambda: [layers.PReLU(), layers.PReLU(shared_axes=[1, 2])],
    "pad": lambda: [layers.ZeroPadding2D(), layers.Conv2D(7, 3, strides=2)],
    "permute": lambda: [layers.Permute((2, 1, 3)), layers.Rescaling(2.0, 1.0)],
    "repeat": lambda: [layers.GlobalMaxPooling2D(), layers.RepeatVector(3), layers.Conv1D(4, 2)],
}


@pytest.mark.parametrize("name", MIDDLES)
@pytest.mark.parametrize("zero", [True, False], ids=["zero", "constant"])
def test_between_two_convolutions(name, zero):
    net = [keras.Input((6, 6, 2)), layers.Conv2D(6, 1, name="a"), layers.ReLU(), *MIDDLES[name]()]
    net += [layers.Flatten(), layers.Dense(3)]
    model = kill(randomise(keras.Sequential(net)), a=[1, 2, 3])
    model.get_layer("a").bias.assign(np.full(6, 0.0 if zero else 0.7, "float32"))
    left = filters(shrunk(model)[1])["a"]
    # Zeros always go; constants where nothing pads, or one is enough for all.
    kept = {"transposed": 4, "padded separable": 6, "pad": 6}
    assert left == (3 if zero else kept.get(name, 3))


@pytest.mark.parametrize("last", [None, "m"])
def test_dead_filters_of_other_kinds_of_convolution(last):
    net = [keras.Input((6, 6, 4)), layers.Conv2DTranspose(6, 3, name="t")]
    net += [layers.SeparableConv2D(5, 3, activation="gelu", name="s"), layers.Conv2D(3, 1)]
    model = kill(randomise(keras.Sequential(net)), t=[0, 5], s=[4])
    left = filters(shrunk(model)[1])
    assert (left["t"], left["s"]) == (4, 4)


def test_what_is_not_known_is_left_and_listed():
    sequence = keras.Input((5, 3))
    x = layers.Conv1D(6, 2, padding="causal", name="a")(sequence)
    y = layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    y = layers.LSTM(4, name="lstm")(layers.Add()([x, y]))
    z = layers.Conv1D(4, 1, groups=2, name="grouped")(x)
    z = layers.Dense(4, "relu", name="b")(layers.GlobalMaxPooling1D()(z))
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(2, name="within")], name="inner")
    model = keras.Model(sequence, [layers.Dense(3, name="head")(y), inner(z)])
    report = shrunk(kill(randomise(model), a=[0, 1], b=[3], head=[2]))[1]
    assert report.parameters[0] == report.parameters[1]
    left = {(x.name, x.filters): x.reason for x in report.left}
    assert set(left) == {
        *[("a", 2), ("b", 1), ("head", 1)],
        *[("attention", 0), ("lstm", 0), ("grouped", 0), ("inner", 0)],
    }
    assert left["a", 2].startswith("feeds ")
    assert left["head", 1] == "output of the model"
    assert "nested model" in left["b", 1] and "LSTM" in left["lstm", 0]
    assert "grouped convolution" in left["grouped", 0]


def test_channels_first_is_left():
    image = keras.Input((3, 6, 6))
    x = layers.Conv2D(4, 3, data_format="channels_first", name="a")(image)
    model = keras.Model(image, layers.Flatten(data_format="channels_first")(x))
    kill(model, a=[0])
    # Without comparing: TensorFlow has no such convolution on CPUs.
    new, report = shrink(model, verify=False)
    assert new.count_params() == model.count_params() and report.difference is None
    assert [(x.name, x.filters) for x in report.left] == [("a", 0)]
    assert "channels first" in report.left[0].reason and "not compared" in str(report)


def test_shared_layers_shrink_alike_in_all_their_uses():
    def build(beta):
        first, second = keras.Input((4,)), keras.Input((4,))
        a, b = layers.Dense(5, "relu", name="a"), layers.Dense(5, "relu", name="b")
        shared = layers.Dense(6, "relu", name="shared")
        x = layers.Concatenate()([shared(a(first)), shared(b(second))])
        model = keras.Model([first, second], layers.Dense(2, name="head")(x))
        kill(randomise(model), a=[0, 1], b=[0, 2], shared=[3])
        for name, value in zip("ab", beta):
            model.get_layer(name).bias.assign(np.full(5, value, "float32"))
        return shrunk(model)[1]

    assert filters(build((0.5, 0.5))) == {"a": 4, "b": 4, "shared": 5, "head": 2}
    # Two constants for one bias.
    report = build((0.5, 0.2))
    assert filters(report)["a"] == 5 and "not the same constant in all uses of shared" in str(
        report
    )


def test_outputs_keep_their_channels_and_no_layer_loses_its_last():
    image = keras.Input((4,))
    a = layers.Dense(5, name="a")(image)
    b = layers.Dense(4, name="b")(layers.Dense(3, name="c")(a))
    model = kill(randomise(keras.Model(image, {"a": a, "b": b})), a=[0], b=[1], c=[0, 1, 2])
    report = shrunk(model)[1]
    assert filters(report) == {"a": 5, "c": 1, "b": 4}
    assert {(x.name, x.filters, x.reason) for x in report.left} == {
        ("a", 1, "output of the model"),
        ("b", 4, "output of the model"),
        ("c", 1, "it is the last channel of its tensor"),
    }


def random_net(draw):
    """A functional net of random layers on random earlier tensors, with random dead filters."""
    pick = lambda *x: x[draw(st.integers(0, len(x) - 1))]  # noqa: E731
    image = keras.Input((4, 4, 2))
    tensors = [layers.Conv2D(4, 3, padding="same")(image)]
    for _ in range(draw(st.integers(2, 6))):
        x, kind = pick(*tensors), draw(st.integers(0, 9))
        alike = [t for t in tensors if t.shape == x.shape]
        near = [t for t in tensors if t.shape[1:3] == x.shape[1:3]]
        if kind <= 2:
            act, size, pad = pick("relu", None), pick(1, 2), pick("same", "valid")
            pad = "same" if x.shape[1] == 1 else pad
            x = layers.Conv2D(pick(3, 4), size, padding=pad, activation=act)(x)
        elif kind == 3:
            x = layers.BatchNormalization()(x)
        elif kind == 4:
            x = layers.Activation(pick("relu", "silu", "sigmoid"))(x)
        elif kind == 5:
            x = layers.DepthwiseConv2D(2, padding="same", depth_multiplier=pick(1, 2))(x)
        elif kind == 6:
            x = pick(layers.Add, layers.Multiply, layers.Maximum)()([x, pick(*alike)])
        elif kind == 7:
            x = layers.Concatenate()([x, pick(*near)])
        elif kind == 8:
            x = layers.MaxPooling2D(2, 1, padding="same")(x)
        else:
            s = layers.Dense(x.shape[-1])(layers.GlobalAveragePooling2D(keepdims=True)(x))
            x = layers.Multiply()([x, s])
        tensors.append(x)
    heads = [layers.Dense(2)(pick(layers.Flatten, layers.GlobalMaxPooling2D)()(tensors[-1]))]
    if draw(st.booleans()):
        heads.append(layers.GlobalAveragePooling2D()(pick(*tensors)))
    model, seed = keras.Model(image, heads), draw(st.integers(0, 99))
    return thinned(model, seed, draw(st.sampled_from([0.3, 0.8])), draw(st.booleans()))


def thinned(model, seed, fraction, rows=False):
    """Random filters zeroed, rows too if asked; some of the constants behind them are zero."""
    randomise(model, seed)
    random = np.random.default_rng(seed)
    for v in model.trainable_variables:
        value = nets.array(v).copy()
        if v.name in ("beta", "bias"):
            value[random.random(value.shape) < 0.5] = 0
        elif v.name == "kernel":
            filters = -2 if "depthwise" in v.path else -1
            dead = random.random(value.shape[filters]) < fraction
            np.moveaxis(value, filters, 0)[dead] = 0
            if rows:
                value[..., random.random(value.shape[-2]) < 0.3, :] = 0
        v.assign(value)
    return model


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_random_nets_give_the_same_outputs(data):
    model = random_net(data.draw)
    new, report = shrunk(model)
    # Once is enough: nothing more goes the second time.
    assert shrink(new).report.parameters == (new.count_params(),) * 2
    assert report.parameters[1] <= report.parameters[0] + 4 * len(model.layers)


@pytest.mark.backend
def test_from_pruning_filters_to_a_smaller_net():
    pruned = tfshed.prune_low_magnitude(
        conv_net("same"),
        tfshed.LinearDecay(0.5, end_step=4, frequency=1),
        scope="layer",
        granularity=tfshed.Filter(),
        select=[("head", False)],
    )
    pruned.compile("sgd", "sparse_categorical_crossentropy", jit_compile=nets.JIT[0])
    x, y = nets.normal(32, 8, 8, 2), np.arange(32) % 3
    pruned.fit(x, y, batch_size=4, epochs=1, verbose=0, callbacks=[tfshed.UpdatePruningStep()])
    assert tfshed.summary(pruned).rows[0].keep_ratio == 0.5
    with pytest.raises(ValueError, match=r"without pruning wrappers.*strip_pruning"):
        shrink(pruned)
    report = shrunk(tfshed.strip_pruning(pruned))[1]
    # Half of the filters go, but for one behind a that carries the constants of the others.
    assert filters(report) in [{"a": n, "bn": n, "b": 2, "c": 3, "head": 3} for n in (4, 5)]
    assert report.parameters[1] < 0.4 * report.parameters[0]
    assert report.flops[1] < 0.4 * report.flops[0]


@keras.saving.register_keras_serializable(package="tests")
class Forgetful(layers.Layer):
    """Its config does not say what it multiplies by."""

    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return x * self.factor

    def get_config(self):
        return {"name": self.name}


class Demanding(Forgetful):
    def __init__(self, factor, **kwargs):
        super().__init__(factor, **kwargs)


def test_refuses_what_it_cannot_do():
    def net(*inner):
        return keras.Sequential([keras.Input((3,)), *inner, layers.Dense(2)], name="net")

    with pytest.raises(RuntimeError, match=r"within 0\.0001 of those of 'net'"):
        shrink(net(Forgetful(2.0)))
    assert shrink(net(Forgetful(2.0)), tolerance=9.0).report.difference > 0.1
    with pytest.raises(ValueError, match="expected layers that can be made from their get_config"):
        shrink(net(Demanding(2.0, name="odd")))
    with pytest.raises(TypeError, match="expected a Sequential or functional Keras model"):
        shrink(layers.Dense(2))
    with pytest.raises(ValueError, match="expected a built model"):
        shrink(keras.Sequential([layers.Dense(2)]))
    with pytest.raises(ValueError, match="tolerance: expected a number >= 0"):
        shrink(net(), tolerance=-1)


def test_mixed_precision():
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    model = kill(conv_net("same"), a=[0, 1, 2], c=[4])
    new, report = shrink(model)
    assert filters(report)["a"] <= 6 and filters(report)["c"] == 5
    assert report.difference < 2e-2 and new.layers[0].compute_dtype == "float16"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV3Small", "ResNet50", "DenseNet121"])
def test_applications(name):
    build = getattr(keras.applications, name)
    model = thinned(build(weights=None, input_shape=(32, 32, 3), classes=10), 0, 0.4)
    report = shrink(model).report
    assert report.parameters[1] < 0.75 * report.parameters[0], str(report)
