"""`summary`: its numbers against NumPy, and what it says of each kernel."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import tfshed

pytestmark = [
    pytest.mark.backend,
    pytest.mark.filterwarnings("ignore:the net has shed itself"),
]


def silent(text: str) -> None:
    pass


def net() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(8, 3, name="stem"),
            layers.DepthwiseConv2D(3, name="deep"),
            layers.BatchNormalization(name="norm"),
            layers.Flatten(name="flat"),
            layers.Dense(4, name="head"),
        ],
        name="net",
    )


def test_numbers_of_a_plain_sparse_model_agree_with_numpy() -> None:
    model = tfshed.sparsify(net(), 0.7, select="head|stem")
    found = tfshed.summary(model, print_fn=silent)
    assert [row.path for row in found.rows] == [
        "net/stem/kernel",
        "net/deep/kernel",
        "net/head/kernel",
    ]
    kernels = [model.get_layer(n).get_weights()[0] for n in ("stem", "deep", "head")]
    for row, kernel in zip(found.rows, kernels):
        assert row.shape == kernel.shape
        assert (row.weights, row.nonzero) == (kernel.size, np.count_nonzero(kernel))
        assert row.sparsity == pytest.approx(np.mean(kernel == 0))
        assert (row.keep_ratio, row.pruning, row.reason) == (None, None, "not declared")
    zeros, total = sum((k == 0).sum() for k in kernels), sum(k.size for k in kernels)
    assert found.total_sparsity == pytest.approx(zeros / total)
    assert found.pruned_sparsity is None
    assert found.declarations == []


def test_a_wrapped_model_says_what_its_declaration_came_to() -> None:
    schedule = tfshed.ExponentialDecay(0.85, time_constant=30, end_step=350)
    model = tfshed.prune_low_magnitude(net(), schedule, select=[("head", False)])
    text: list[str] = []
    found = tfshed.summary(model, print_fn=text.append)
    stem, deep, head = found.rows
    assert (stem.layer, stem.pruning, stem.reason, stem.keep_ratio) == ("Conv2D", 0, "", 1.0)
    assert (deep.pruning, deep.reason.split(":")[0]) == (None, "depthwise")
    assert (head.pruning, head.reason) == (None, "rule 'head'")
    (declared,) = found.declarations
    assert declared["scope"] == "global"
    assert declared["threshold"] == 1e-4
    assert declared["grow_threshold"] is True
    assert (declared["kernels"], declared["weights"]) == (1, 3 * 3 * 3 * 8)
    assert declared["schedule"] == repr(schedule)
    # Nothing was trained.
    assert declared["target_now"] is declared["threshold_now"] is None
    assert text == [str(found)]
    for line in (
        "  scope: global (all kernels are ranked together)",
        "  threshold: 0.0001, grows with what is pruned",
        f"  schedule: {schedule!r}",
    ):
        assert line in text[0].splitlines()


def test_scopes_of_tfmots_schedules_are_told() -> None:
    model = tfshed.prune_low_magnitude(net(), tfshed.ConstantSparsity(0.5, 0))
    text = str(tfshed.summary(model, print_fn=silent))
    assert "  scope: layer (each kernel is pruned to the same sparsity)" in text.splitlines()
    assert "  threshold: 0, nothing is shed" in text.splitlines()


def test_blocks_and_their_training() -> None:
    blocks = tfshed.Block(4, 1)
    model = tfshed.prune_low_magnitude(
        net(), tfshed.OneShot(0.5, step=1), granularity=blocks, threshold=0.0
    )
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    x, y = np.ones((4, 8, 8, 3), "float32"), np.ones((4, 4), "float32")
    model.fit(x, y, epochs=2, verbose=0, callbacks=[tfshed.UpdatePruningStep()])
    found = tfshed.summary(model, print_fn=silent)
    stem, _, head = found.rows
    assert "3 input channels are no multiple of 4" in stem.reason
    kernel = model.layers[-1].layer.get_weights()[0]
    norms = np.square(kernel).reshape(-1, 4, 4).sum(axis=1)
    assert head.keep_ratio == pytest.approx(np.mean(norms > 0)) == pytest.approx(0.5)
    assert head.sparsity == pytest.approx(0.5)
    assert found.pruned_sparsity == pytest.approx(0.5)
    assert found.total_sparsity < 0.5
    assert found.declarations[0]["target_now"] == 0.5
    assert "50.00%  yes, pruning 0" in str(found)
    assert "sparsity of the pruned kernels alone: 50.00%" in str(found)


def test_reasons_survive_saving(tmp_path: Any) -> None:
    model = net()
    model.get_layer("stem").trainable = False
    model = tfshed.prune_low_magnitude(model, tfshed.ConstantSparsity(0.5, 0))
    before = tfshed.summary(model, print_fn=silent)
    model.save(tmp_path / "m.keras")
    again = tfshed.summary(keras.models.load_model(tmp_path / "m.keras"), print_fn=silent)
    for found in (before, again):
        assert [row.pruning for row in found.rows] == [None, None, 0]
        assert [row.reason.split(":")[0] for row in found.rows] == [
            "declared, frozen now",
            "depthwise",
            "",
        ]


def test_kernels_that_a_wrapper_leaves_are_listed() -> None:
    model = keras.Sequential([keras.Input((5, 3)), layers.LSTM(4, name="lstm")], name="net")
    model = tfshed.prune_low_magnitude(
        model, tfshed.ConstantSparsity(0.5, 0), select="recurrent_kernel"
    )
    found = tfshed.summary(model, print_fn=silent)
    assert sorted((row.path.split("/")[-1], row.pruning) for row in found.rows) == [
        ("kernel", None),
        ("recurrent_kernel", 0),
    ]
    assert all(row.layer.startswith("LSTM") for row in found.rows)


def test_keep_zeros_is_seen_without_a_declaration() -> None:
    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append(tfshed.summary(self.model, print_fn=silent))

    seen: list[Any] = []
    model = tfshed.sparsify(net(), 0.7, select="head")
    model.compile("sgd", "mse")
    x, y = np.ones((4, 8, 8, 3), "float32"), np.ones((4, 4), "float32")
    model.fit(x, y, verbose=0, callbacks=[tfshed.KeepZeros(), Look()])
    assert [row.pruning for row in seen[0].rows] == [None, None, 0]
    assert seen[0].rows[2].keep_ratio == pytest.approx(0.3, abs=0.01)
    # After training nobody prunes any more.
    assert tfshed.summary(model, print_fn=silent).declarations == []


def test_two_declarations_and_a_shared_layer() -> None:
    shared = tfshed.prune_low_magnitude(
        layers.Dense(4, name="shared"), tfshed.ConstantSparsity(0.5, 0)
    )
    other = tfshed.prune_low_magnitude(layers.Dense(4, name="other"), tfshed.LinearDecay(0.8, 10))
    inputs = keras.Input((4,))
    model = keras.Model(inputs, other(shared(shared(inputs))))
    found = tfshed.summary(model, print_fn=silent)
    assert [(row.weights, row.pruning) for row in found.rows] == [(16, 0), (16, 1)]
    assert [d["scope"] for d in found.declarations] == ["layer", "global"]


def test_it_prints_and_converts_to_json(capsys: pytest.CaptureFixture[str]) -> None:
    model = tfshed.prune_low_magnitude(net(), tfshed.ConstantSparsity(0.5, 0))
    found = tfshed.summary(model)
    assert capsys.readouterr().out == str(found) + "\n"
    assert repr(found) == "<Summary of net: 3 kernels, 0.00% zeros>"
    data = json.loads(json.dumps(found.to_dict()))
    assert data["rows"][0]["shape"] == [3, 3, 3, 8]
    assert data["total_sparsity"] == found.total_sparsity
    assert data["declarations"] == found.declarations
    # Columns stand below one another.
    header, _, *rows = str(found).splitlines()[1:6]
    assert all(row.index(",") >= 0 for row in rows)
    end = header.index("weights") + len("weights")
    assert all(row[end] == " " and row[end - 1].isdigit() for row in rows)


def test_a_model_without_kernels_has_an_empty_table() -> None:
    model = keras.Sequential([keras.Input((4,)), layers.ReLU()], name="empty")
    found = tfshed.summary(model, print_fn=silent)
    assert (found.rows, found.total_sparsity, found.pruned_sparsity) == ([], 0.0, None)


def test_errors_say_what_was_expected() -> None:
    with pytest.raises(TypeError, match="model: expected a Keras model or layer, received str"):
        tfshed.summary("model")
    with pytest.raises(ValueError, match="expected a built model, received s without weights"):
        tfshed.summary(keras.Sequential([layers.Dense(3)], name="s"))
