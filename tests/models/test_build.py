"""tfshed.models.build: the networks by name, from raw images to logits."""

from __future__ import annotations

import functools
import random

import keras
import numpy as np
import pytest
from keras import ops

import tfshed
from tests.nets import BACKEND, JIT, array, kept
from tfshed import models
from tfshed.models import preprocessing
from tfshed.models.sparse_mobilenet import inverted_residuals, sparse_mobilenet_v1

backend = pytest.mark.backend

RNG = np.random.default_rng(0)
SMALL = {"input_shape": (8, 8, 1), "classes": 10}
MOBILE = {"name": "mobilenet_v3_small", "input_shape": (32, 32, 3), "classes": 3}
TINY = {"name": "resnet20", "width": 2, **SMALL}


def images(*shape):
    return RNG.integers(0, 256, shape, "uint8")


def decayed(model):
    """The kernels that a decay is due on: of two axes or four, not depthwise."""
    kernels = [v for v in model.trainable_variables if v.path.endswith("/kernel")]
    # ConvNeXt's depthwise kernels are (7, 7, 1, n), those of DepthwiseConv2D (k, k, n, 1).
    return [
        v for v in kernels if "depthwise" not in v.path and (len(v.shape) == 2 or v.shape[3] > 1)
    ]


def by_hand(model, rate):
    return sum(rate / 2 * float(np.sum(np.square(array(v.value)))) for v in decayed(model))


def value(losses):
    return float(array(sum(losses)))


# Published: He et al.'s and Keras' tables, less what Keras' preprocessing layer counts (7, of
# EfficientNet); the rest by the papers' lists of layers.
@pytest.mark.parametrize(
    ("name", "shape", "classes", "parameters"),
    [
        ("resnet32", (32, 32, 3), 10, 469_370),
        ("lenet_300_100", (28, 28, 1), 10, 266_610),
        ("small_cnn", (28, 28, 1), 10, 9 * (16 + 16 * 32 + 32 * 64) + 4 * 112 + 650),
        ("vgg19_bn", (32, 32, 3), 10, 20_018_880 + 4 * 5_504 + 5_130),
        ("resnet50", (32, 32, 3), 1000, 25_636_712),
        ("efficientnet_b0", (33, 40, 3), 1000, 5_330_571 - 7),
        ("convnext_tiny", (32, 32, 3), 1000, 28_589_128),
        pytest.param(
            "vgg16_bn", (32, 32, 3), 10, 14_710_464 + 4 * 4_224 + 5_130, marks=pytest.mark.slow
        ),
        pytest.param("mobilenet_v3_small", (32, 47, 3), 1000, 2_554_968, marks=pytest.mark.slow),
        pytest.param("vgg16", (224, 224, 3), 1000, 138_357_544, marks=pytest.mark.slow),
        pytest.param("inception_v3", (75, 80, 3), 1000, 23_851_784, marks=pytest.mark.slow),
        pytest.param("mobilenet_v3_large", (32, 32, 3), 1000, 5_507_432, marks=pytest.mark.slow),
    ],
)
def test_every_network(name, shape, classes, parameters):
    model = models.build(name, input_shape=shape, classes=classes, weight_decay=1e-3)
    assert model.name == name and model.count_params() == parameters
    assert model.input.dtype == "uint8" and model.input.shape == (None, *shape)
    assert model.output.shape == (None, classes)
    last = model.layers[-1]
    assert last.activation is keras.activations.linear
    # One node for each layer: `layer.output` is what flows in this model.
    assert all(len(layer._inbound_nodes) == 1 for layer in model.layers)
    assert len(model.losses) == len(decayed(model))
    assert value(model.losses) == pytest.approx(by_hand(model, 1e-3), rel=1e-4)

    # What a .keras file says of it: nothing of tfshed, and all of it.
    config = model.to_json()
    assert "tfshed" not in config
    loaded = keras.models.model_from_json(config)
    names = [layer.name for layer in model.layers]
    assert [layer.name for layer in loaded.layers] == names and len(set(names)) == len(names)
    assert [v.shape for v in loaded.weights] == [v.shape for v in model.weights]
    assert len(loaded.losses) == len(model.losses)


# Huang et al. 2017, table 2 (1.0 M and 0.8 M parameters); Liu et al. 2017, table 1 (1.70 M and
# 1.02 M; 4.99e8 and 5.33e8 operations, two for each multiply-add, normalisation and ReLU counted).
@pytest.mark.parametrize(
    ("name", "classes", "parameters", "operations"),
    [
        ("densenet40", 10, 1.02e6, 5.33e8),
        pytest.param("preresnet164", 10, 1.70e6, 4.99e8, marks=pytest.mark.slow),
        pytest.param("densenet_bc100", 100, 0.80e6, None, marks=pytest.mark.slow),
    ],
)
def test_networks_that_slimming_prunes_have_their_published_sizes(
    name, classes, parameters, operations
):
    model = models.build(name, input_shape=(32, 32, 3), classes=classes)
    trained = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert trained == pytest.approx(parameters, rel=0.007)
    found = tfshed.flops(model)
    assert found.uncounted == []
    if operations:
        assert 2 * found.macs == pytest.approx(operations, rel=0.015)


# Luo et al. 2017 (ThiNet), tables 2 and 4, in millions of parameters.
@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("thinet_vgg16_gap", 8.32),
        ("thinet_vgg16_tiny", 1.32),
        pytest.param("thinet_resnet50_30", 8.66, marks=pytest.mark.slow),
    ],
)
def test_nets_that_papers_left_have_their_published_sizes(name, millions):
    model = models.build(name, input_shape=(64, 64, 3), classes=1000)
    trained = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert trained / 1e6 == pytest.approx(millions, abs=0.006)


@pytest.mark.parametrize("name", ["preresnet20", "densenet_bc40", "densenet40"])
def test_networks_refuse_what_they_cannot_be(name):
    model = models.build(name, input_shape=(8, 8, 1), classes=3)
    assert model.output.shape == (None, 3)
    from tfshed.models.densenet import densenet
    from tfshed.models.preresnet import preresnet

    for wrong in (
        functools.partial(preresnet, 110 - 1),
        functools.partial(densenet, 41),
        functools.partial(densenet, 43, bottleneck=True),
    ):
        with pytest.raises(ValueError, match="depth: expected"):
            wrong()


def test_the_names_are_all_tested():
    assert set(models.names()) >= {"resnet20", "resnet56", "resnet110", "vgg16", "convnext_tiny"}
    assert len(models.names()) == 45


@backend
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_preprocessing(channels, policy):
    keras.mixed_precision.set_dtype_policy(policy)
    x = images(4, 6, 5, channels)
    x[0], x[1, ...] = 7, 255  # no deviation
    x[2, 0, 0, 0] = x[2].max()
    real = x.astype("float64")
    mean = real.mean((1, 2, 3), keepdims=True)
    deviation = np.maximum(real.std((1, 2, 3), keepdims=True), 1 / np.sqrt(6 * 5 * channels))
    pair = ((100.0, 110.0, 120.0)[:channels], (50.0, 60.0, 70.0)[:channels])
    expected = {
        "none": real,
        "unit": real / 255,
        "standardize": (real - mean) / deviation,
        pair: (real - pair[0]) / pair[1],
    }
    if channels == 3:
        for mode in ("caffe", "tf", "torch"):
            expected[mode] = keras.applications.imagenet_utils.preprocess_input(
                x.astype("float32"), mode=mode
            )
    for how, result in expected.items():
        image = keras.Input(x.shape[1:], dtype="uint8")
        y = array(keras.Model(image, preprocessing.preprocess(image, how))(x))
        assert y.dtype == np.float32
        np.testing.assert_allclose(y, result, rtol=1e-5, atol=1e-4)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        theirs = tf.image.per_image_standardization(x)
        np.testing.assert_allclose(expected["standardize"], theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "function", "mode"),
    [
        ("efficientnet_b0", "EfficientNetB0", None),
        pytest.param("mobilenet_v3_small", "MobileNetV3Small", None, marks=pytest.mark.slow),
        pytest.param("convnext_tiny", "ConvNeXtTiny", None, marks=pytest.mark.slow),
        pytest.param("resnet50", "ResNet50", "caffe", marks=pytest.mark.slow),
        pytest.param("inception_v3", "InceptionV3", "tf", marks=pytest.mark.slow),
    ],
)
def test_imagenet_preprocessing_is_what_the_application_expects(name, function, mode):
    size = 75 if name == "inception_v3" else 32
    x = images(2, size, size, 3)
    model = models.build(name, input_shape=x.shape[1:], classes=5)
    theirs = getattr(keras.applications, function)(
        input_shape=x.shape[1:], classes=5, weights=None, classifier_activation=None
    )
    real = x.astype("float32")
    if mode:
        real = keras.applications.imagenet_utils.preprocess_input(real, mode=mode)
    weights = model.get_weights()
    if name == "efficientnet_b0":
        # What Keras' weights for ImageNet have in its first layer.
        mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        weights = [mean, deviation**2, np.array(0), *weights]
    theirs.set_weights(weights)
    if name == "efficientnet_b0":
        theirs.get_layer(index=2).finalize_state()
    y = array(theirs(real, training=False))
    assert np.ptp(y) > 0
    np.testing.assert_allclose(
        array(model(x, training=False)), y, rtol=1e-3, atol=1e-4 * np.abs(y).max()
    )


@backend
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy):
    keras.mixed_precision.set_dtype_policy(policy)
    what = {"preprocessing": "standardize", "weight_decay": 1e-3}
    model = models.build("lenet_300_100", **SMALL, **what)
    x = images(2, 8, 8, 1)
    fed = keras.Model(model.input, model.get_layer("flatten").input)(x)
    assert keras.backend.standardize_dtype(fed.dtype) == "float32"
    assert model.get_layer("hidden1").compute_dtype == policy.removeprefix("mixed_")
    assert value(model.losses) == pytest.approx(by_hand(model, 1e-3), rel=1e-4)
    assert np.isfinite(array(ops.cast(model(x), "float32"))).all()


# JAX compiles the start of every shape of kernel.
@pytest.mark.parametrize(
    "what", [pytest.param({"name": "lenet_300_100", **SMALL}, marks=backend), MOBILE]
)
def test_seed(what):
    def built(seed, **more):
        return models.build(**what, **more, seed=seed)

    states = random.getstate(), np.random.get_state()[1].tolist()
    first, again, other = built(3), built(3, weight_decay=0.1, preprocessing="none"), built(4)
    assert states == (random.getstate(), np.random.get_state()[1].tolist())
    # Dropout's state too.
    for a, b in zip(first.variables, again.variables, strict=True):
        np.testing.assert_array_equal(array(a.value), array(b.value))
    assert [v.path for v in first.weights] == [v.path for v in again.weights]
    for a, b in zip(decayed(first), decayed(other), strict=True):
        assert not np.array_equal(array(a.value), array(b.value))
    # No two kernels, of one seed or of two, begin alike.
    starts = [array(v.value).ravel()[:8].tobytes() for v in decayed(first) + decayed(other)]
    assert len(set(starts)) == len(starts)


@backend
def test_without_a_seed_the_global_one_counts():
    def built():
        return array(models.build("lenet_300_100", **SMALL).weights[0].value)

    keras.utils.set_random_seed(5)
    first, second = built(), built()
    keras.utils.set_random_seed(5)
    np.testing.assert_array_equal(first, built())
    assert not np.array_equal(first, second)


@backend
def test_pruned_trained_and_loaded_again(tmp_path):
    what = {"name": "lenet_300_100", **SMALL}
    model = models.build(**what, weight_decay=1e-3)
    names = [v.path for v in decayed(model)]
    pruned = tfshed.prune_low_magnitude(model, tfshed.ConstantSparsity(0.5, 0, frequency=1))
    assert value(pruned.losses) == pytest.approx(by_hand(model, 1e-3), rel=1e-4)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    pruned.compile("sgd", loss, jit_compile=JIT[0])
    callbacks = [tfshed.UpdatePruningStep()]
    pruned.fit(images(8, 8, 8, 1), np.arange(8), batch_size=4, verbose=0, callbacks=callbacks)
    pruned.save(tmp_path / "pruned.keras")
    plain = tfshed.strip_pruning(pruned)
    assert [v.path for v in decayed(plain)] == names
    assert value(plain.losses) == pytest.approx(by_hand(plain, 1e-3), rel=1e-4)

    again = models.build(**what, weights=tmp_path / "pruned.keras")
    for a, b in zip(plain.weights, again.weights, strict=True):
        np.testing.assert_array_equal(array(a.value), array(b.value))
    assert all(kept(v) == pytest.approx(0.5, abs=0.01) for v in decayed(again))


LENET = (
    {"name": "lenet_300_100", **SMALL},
    {
        r"logits\S*: shape \(100, 7\) here, shape \(100, 10\) in the file": {"classes": 7},
        r"hidden1\S*: shape \(72, 300\) here, shape \(64, 300\) in": {"input_shape": (9, 8, 1)},
    },
)
VGG = (
    {"name": "vgg16_bn", "width": 1, **SMALL},
    {
        r"stage1_conv1\S*: shape \(3, 3, 1, 2\) here, shape \(3, 3, 1, 1\) in": {"width": 2},
        r"stage3_conv4\S*: shape \(3, 3, 4, 4\) here, shape \(3, 3, 4, 8\)": {"name": "vgg19_bn"},
    },
)


@pytest.mark.parametrize(
    ("suffix", "what", "wrong"),
    [
        pytest.param(".weights.h5", *LENET, marks=backend),
        pytest.param(".keras", *LENET, marks=backend),
        (".weights.h5", *VGG),
        (".keras", *VGG),
    ],
)
def test_weights_from_a_file(suffix, what, wrong, tmp_path):
    model = models.build(**what)
    # Moving averages too, and an optimizer.
    model.set_weights([RNG.normal(size=v.shape) for v in model.weights])
    model.compile(keras.optimizers.Adam(), "mse")
    model.optimizer.build(model.trainable_variables)
    path = tmp_path / f"model{suffix}"
    (model.save if suffix == ".keras" else model.save_weights)(path)
    again = models.build(**what, preprocessing="none", weights=str(path))
    for a, b in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(array(a.value), array(b.value))

    for where, change in wrong.items():
        with pytest.raises(ValueError, match=f"expected a file of .*differs first at {where}"):
            models.build(**{**what, **change}, weights=path)


def test_a_file_that_has_more_than_the_network(tmp_path):
    path = tmp_path / "x.weights.h5"
    model = models.build("lenet_300_100", input_shape=(2, 2, 1), classes=100)
    more = keras.Model(model.input, keras.layers.Dense(5)(model.output))
    more.save_weights(path)
    with pytest.raises(ValueError, match="the number of weights: 6 here, 8 in the file"):
        models.build("lenet_300_100", input_shape=(2, 2, 1), classes=100, weights=path)


def test_files_that_do_not_fit_at_all(tmp_path):
    what = {"name": "lenet_300_100", **SMALL}
    path = tmp_path / "x.weights.h5"
    path.write_bytes(b"no weights")
    with pytest.raises(ValueError, match="cannot be read: .*Save or fetch the file again"):
        models.build(**what, weights=path)
    schedule = tfshed.ConstantSparsity(0.5, 0)
    tfshed.prune_low_magnitude(models.build(**what), schedule).save_weights(path)
    with pytest.raises(ValueError, match=r"differs first at hidden1: .*strip_pruning\(model\)"):
        models.build(**what, weights=path)


def test_imagenet_without_a_network(monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    what = {"input_shape": (32, 32, 3), "classes": 10, "weights": "imagenet"}
    with pytest.raises(OSError, match=r"Fetch https://\S+\.h5 where .* put it at \S+models/\S+h5"):
        models.build("mobilenet_v3_small", **what, alpha=0.75)


def test_imagenet_weights_without_the_head(monkeypatch, tmp_path):
    trained = keras.applications.MobileNetV3Small(
        input_shape=(224, 224, 3), include_top=False, weights=None
    )
    path = tmp_path / "fetched.weights.h5"
    trained.save_weights(path)
    monkeypatch.setattr(keras.src.utils.file_utils, "get_file", lambda *a, **k: str(path))
    what = {"input_shape": (32, 32, 3), "classes": 10, "weights": "imagenet"}
    model = models.build("mobilenet_v3_small", **what)
    theirs = {v.path: array(v.value) for v in trained.weights}
    ours = {v.path: array(v.value) for v in model.weights}
    for path in theirs:
        np.testing.assert_array_equal(ours.pop(path), theirs[path], err_msg=path)
    assert {path.split("/")[0] for path in ours} == {"conv_2", "logits"}
    assert all(v.any() for path, v in ours.items() if path.endswith("kernel"))


IMAGENET = {"name": "resnet50", "input_shape": (32, 32, 3)}


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (
            {"name": "resnet21"},
            ValueError,
            "'resnet8', .*'resnet21'. Did you mean 'resnet",
        ),
        ({"depth": 3}, TypeError, "resnet20: unknown option depth. Its options: width"),
        ({"name": "vgg16", **IMAGENET, "alpha": 3}, TypeError, "option alpha. Its options: none"),
        ({"input_shape": (8, 8)}, ValueError, r"three whole numbers >= 1, received \(8, 8\)"),
        ({"input_shape": (8, None, 1)}, ValueError, "three whole numbers"),
        ({"classes": 0}, ValueError, "classes to be an integer >= 1, received 0"),
        ({"weight_decay": -1}, ValueError, "weight_decay to be >= 0, received -1"),
        ({"seed": -1}, ValueError, "seed to be an integer >= 0, received -1"),
        ({"name": "vgg16_bn", "width": 0}, ValueError, "width to be an integer >= 1, received 0"),
        ({"name": "vgg16_bn", "bn_momentum": 1}, ValueError, "vgg_bn: expected 0 <= bn_momentum"),
        ({"name": "inception_v3", "input_shape": (74, 99, 3)}, ValueError, "at least 75x75 pixels"),
        ({"name": "resnet50", "input_shape": (32, 32, 2)}, ValueError, "1 or 3 channels"),
        ({"name": "resnet50", "input_shape": (32, 32, 1)}, ValueError, "3 channels, received 1"),
        ({"preprocessing": "imagenet"}, ValueError, "'imagenet', which is for networks of keras"),
        ({"preprocessing": "unitt"}, ValueError, "expected one of .*received 'unitt'"),
        ({"preprocessing": (1, 2)}, ValueError, r"a pair .*received \(1, 2\)"),
        ({"preprocessing": ((1, 2), (1, 2))}, ValueError, "for each of 1 channels"),
        ({"preprocessing": ((1,), (0,))}, ValueError, "deviation of preprocessing.*positive"),
        ({"weights": "imagenet"}, ValueError, "with a network of keras.applications"),
        ({"weights": "none.keras"}, FileNotFoundError, "existing .keras .* received 'none.keras'"),
        ({"weights": "."}, FileNotFoundError, "a directory. Name the file in it"),
        ({"weights": __file__}, ValueError, "a file named .keras or .weights.h5, received"),
    ],
)
def test_errors(wrong, error, message):
    what = {"name": "resnet20", **SMALL, **wrong}
    with pytest.raises(error, match=message):
        models.build(**what)


def test_channels_first_is_refused():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="set_image_data_format"):
            models.build(**TINY)
    finally:
        keras.config.set_image_data_format("channels_last")


def test_grey_images_in_an_application():
    model = models.build(
        "mobilenet_v3_small",
        input_shape=(32, 32, 1),
        classes=3,
        preprocessing="standardize",
        alpha=0.35,
        minimalistic=True,
    )
    assert tuple(model(images(1, 32, 32, 1)).shape) == (1, 3)


@pytest.mark.parametrize("name", ["vgg16_bn", "vgg19_bn"])
@pytest.mark.parametrize("size", [1, 8, 33])
def test_vgg_takes_any_size(name, size):
    model = models.build(name, input_shape=(size, size + 1, 3), classes=3, width=2)
    assert tuple(model(images(2, size, size + 1, 3)).shape) == (2, 3)
    if size == 33:
        assert model.get_layer("pool").input.shape[1:] == (3, 3, 16)


def test_a_network_is_added_in_one_place():
    """By one function under a decorator: `build`, and so recipes and the command line, know it."""

    @models.register("one_layer", options=("bias",), preprocessing="unit")
    def one_layer(input_shape, classes, bias=True):
        image = keras.Input(input_shape)
        dense = keras.layers.Dense(classes, use_bias=bias)
        return keras.Model(image, dense(keras.layers.Flatten()(image)))

    model = models.build("one_layer", input_shape=(2, 2, 1), classes=3, bias=False)
    assert model.count_params() == 12 and "one_layer" in models.names()
    with pytest.raises(ValueError, match="'one_layer'.* received 'one_lager'. Did you mean 'one_l"):
        models.build("one_lager", input_shape=(2, 2, 1), classes=3)
    with pytest.raises(TypeError, match="unknown option bais. Its options: bias. Did you mean"):
        models.build("one_layer", input_shape=(2, 2, 1), classes=3, bais=False)


@backend
def test_decay_on_all_variables_is_that_of_normalisation_and_biases_too():
    model = models.build(**TINY, weight_decay=2e-4, decay_on="all")
    wanted = sum(1e-4 * float(np.sum(np.square(array(v)))) for v in model.trainable_variables)
    assert len(model.losses) == len(model.trainable_variables)
    assert value(model.losses) == pytest.approx(wanted, rel=1e-5)
    # Pruning makes another model of copies of these layers.
    pruned = tfshed.prune_low_magnitude(model, tfshed.ConstantSparsity(0.5, 0))
    assert value(pruned.losses) == pytest.approx(wanted, rel=1e-5)
    with pytest.raises(ValueError, match="decay_on: expected .*all.*, received 'bias'"):
        models.build(**TINY, weight_decay=2e-4, decay_on="bias")


@pytest.mark.parametrize("name", [name for name in models.names() if name.startswith("sparse_")])
def test_sparse_mobilenets_are_what_xnnpack_runs_sparse(name):
    make = sparse_mobilenet_v1
    if name != "sparse_mobilenet_v1":
        make = functools.partial(inverted_residuals, name)
    model = make((32, 32, 3), 10, width=0.1)
    tfshed.PruneForLatencyOnXNNPack().ensure_model_supports_pruning(model)
    with pytest.raises(ValueError, match="expected width to be a positive number, received 0"):
        make((32, 32, 3), 10, width=0)
