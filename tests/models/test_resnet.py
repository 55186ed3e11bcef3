"""tfshed.models.resnet: sizes, shapes, names and what it refuses."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfshed import models


def expected_parameters(depth, channels=3, classes=10, width=16, shortcut="B"):
    """Counts from the paper's table, layer by layer; a BatchNorm has four numbers a channel."""
    n = (depth - 2) // 6
    w1, w2, w3 = width, 2 * width, 4 * width
    kernels = 9 * channels * w1 + n * 2 * 9 * w1 * w1
    kernels += 9 * w1 * w2 + (2 * n - 1) * 9 * w2 * w2
    kernels += 9 * w2 * w3 + (2 * n - 1) * 9 * w3 * w3
    norms = 4 * (w1 + 2 * n * (w1 + w2 + w3))
    if shortcut == "B":
        kernels += w1 * w2 + w2 * w3
        norms += 4 * (w2 + w3)
    return kernels + norms + (w3 + 1) * classes


@pytest.mark.parametrize("shortcut", ["A", "B"])
@pytest.mark.parametrize(
    ("build", "depth", "millions"),
    [(models.resnet20, 20, 0.27), (models.resnet56, 56, 0.85), (models.resnet110, 110, 1.7)],
)
def test_parameters_match_the_paper(build, depth, millions, shortcut):
    model = build(shortcut=shortcut)
    assert model.count_params() == expected_parameters(depth, shortcut=shortcut)
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert trainable == pytest.approx(millions * 1e6, rel=0.025)


def test_depth_counts_the_layers_with_weights_on_the_main_path():
    model = models.resnet(20)
    weighted = [v for v in model.layers if isinstance(v, keras.layers.Conv2D | keras.layers.Dense)]
    assert len([v for v in weighted if "shortcut" not in v.name]) == 20


@pytest.mark.parametrize("shortcut", ["A", "B"])
@pytest.mark.parametrize("shape", [(32, 32, 3), (8, 8, 1), (7, 5, 2), (1, 1, 1)])
def test_any_input_size(shape, shortcut):
    model = models.resnet(8, input_shape=shape, classes=3, width=2, shortcut=shortcut)
    outputs = model(np.ones((2, *shape), "float32"), training=False)
    assert tuple(outputs.shape) == (2, 3)
    assert model.count_params() == expected_parameters(8, shape[2], 3, 2, shortcut)


@pytest.mark.backend
@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_open_size_takes_images_of_several_sizes(shortcut):
    model = models.resnet(8, input_shape=(None, None, 1), width=2, shortcut=shortcut)
    for size in (8, 9):
        assert tuple(model(np.ones((1, size, size, 1), "float32")).shape) == (1, 10)


def test_stages_halve_the_size_rounding_up():
    model = models.resnet(8, input_shape=(7, 8, 3))
    shapes = [model.get_layer(f"stage{s}_block1_relu2").output.shape[1:] for s in (1, 2, 3)]
    assert shapes == [(7, 8, 16), (4, 4, 32), (2, 2, 64)]


@pytest.mark.backend
def test_option_a_subsamples_and_pads_with_zeros():
    model = models.resnet(8, input_shape=(5, 4, 1), width=2, shortcut="A")
    pad = model.get_layer("stage2_block1_shortcut_pad")
    shortcut = keras.Model(model.get_layer("stage1_block1_relu2").output, pad.output)
    x = np.arange(5 * 4 * 2, dtype="float32").reshape(1, 5, 4, 2) + 1
    expected = np.zeros((1, 3, 2, 4), "float32")
    expected[..., 1:3] = x[:, ::2, ::2]
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(shortcut(x)), expected)


def test_outputs_are_logits():
    model = models.resnet(8, input_shape=(8, 8, 1), width=4)
    assert model.layers[-1].activation is keras.activations.linear


def test_layer_names_are_stable_and_readable():
    names = [layer.name for layer in models.resnet(14, width=1).layers]
    assert len(set(names)) == len(names)
    for name in ("stem_conv", "stage1_block1_conv1", "stage3_block2_bn2", "logits"):
        assert name in names
    assert [n for n in names if n.endswith("shortcut_conv")] == [
        "stage2_block1_shortcut_conv",
        "stage3_block1_shortcut_conv",
    ]
    assert models.resnet(8).name == "resnet8"
    assert models.resnet(8, name="mine").name == "mine"


@pytest.mark.backend
def test_weight_decay_is_on_every_kernel_and_on_nothing_else():
    model = models.resnet(8, width=2, weight_decay=1e-3)
    kernels = [v for v in model.trainable_variables if v.path.endswith("kernel")]
    expected = sum(1e-3 * float(np.sum(np.square(v.numpy()))) for v in kernels)
    assert len(model.losses) == len(kernels) == 10
    assert float(keras.ops.convert_to_numpy(sum(model.losses))) == pytest.approx(expected, rel=1e-5)
    assert models.resnet(8, width=2).losses == []


@pytest.mark.backend
def test_seed_fixes_the_kernels_and_gives_each_its_own():
    def kernels(seed):
        model = models.resnet(14, width=2, seed=seed)
        return [v.numpy() for v in model.trainable_variables if v.path.endswith("kernel")]

    first, again, other = kernels(1), kernels(1), kernels(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert not np.array_equal(first[1], first[2])


def test_kernels_start_from_he_normal():
    kernel = models.resnet(8, seed=0).get_layer("stage3_block1_conv2").kernel.numpy()
    assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 21}, r"expected a depth of 6n \+ 2 .* received 21. The nearest is 20"),
        ({"depth": 2}, "received 2. The nearest is 8"),
        ({"depth": 8, "width": 0}, "expected width >= 1, received 0"),
        ({"depth": 8, "classes": 0}, "expected classes >= 1, received 0"),
        ({"depth": 8, "input_shape": (32, 32)}, r"three numbers .* received \(32, 32\)"),
        ({"depth": 8, "input_shape": (0, 32, 3)}, r"height, width and channels >= 1"),
        ({"depth": 8, "input_shape": (8, 8, None)}, r"height, width and channels >= 1"),
        ({"depth": 8, "weight_decay": -1.0}, "expected weight_decay >= 0, received -1.0"),
        ({"depth": 8, "shortcut": "C"}, "expected shortcut 'A' .* received 'C'"),
    ],
)
def test_refuses_with_what_was_expected(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.resnet(**arguments)


def test_batch_norm_constants_reach_every_layer() -> None:
    net = models.resnet(8, (8, 8, 1), width=2, bn_momentum=0.9, bn_epsilon=1e-5)
    norms = [x for x in net.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert norms and {(x.momentum, x.epsilon) for x in norms} == {(0.9, 1e-5)}
    for bad in ({"bn_momentum": 1.0}, {"bn_epsilon": 0.0}):
        with pytest.raises(ValueError, match="expected 0 <= bn_momentum < 1 and bn_epsilon > 0"):
            models.resnet(8, (8, 8, 1), **bad)
