"""Models of KerasHub, tiny and untrained, are pruned, trained, stripped and saved as any other.

KerasHub is not among the packages that the tests install: where it is missing, they are skipped.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tfshed

keras_hub = pytest.importorskip("keras_hub", exc_type=ModuleNotFoundError)

pytestmark = [
    # KerasHub's own code, and TensorFlow's about the gradient of an embedding.
    pytest.mark.filterwarnings("ignore"),
]
TOKENS = np.arange(4 * 6).reshape(4, 6) % 30
LABELS = np.array([0, 1, 0, 1])


SIZES = {"vocabulary_size": 30, "num_layers": 1, "hidden_dim": 8, "intermediate_dim": 16}
HEADS = {"num_query_heads": 2, "num_key_value_heads": 1}


def bert():
    return keras_hub.models.BertBackbone(**SIZES, num_heads=2, max_sequence_length=8)


def gpt2():
    return keras_hub.models.GPT2Backbone(**SIZES, num_heads=2, max_sequence_length=8)


def llama():
    return keras_hub.models.LlamaBackbone(**SIZES, **HEADS)


def gemma():
    return keras_hub.models.GemmaBackbone(**SIZES, **HEADS, head_dim=4)


def batch(backbone):
    x = {"token_ids": TOKENS, "padding_mask": np.ones_like(TOKENS)}
    if "segment_ids" in backbone.input:
        x["segment_ids"] = np.zeros_like(TOKENS)
    return x


def train(model, x):
    # Eagerly: a step of such a net is compiled for longer than it runs.
    model.compile(
        "adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True
    )
    model.fit(x, LABELS, verbose=0, callbacks=[tfshed.UpdatePruningStep()])


def sparsities(model):
    rows = tfshed.summary(model, print_fn=lambda text: None).rows
    return {row.path: row.sparsity for row in rows}


SCHEDULE = tfshed.ConstantSparsity(0.5, begin_step=0, frequency=1)


@pytest.mark.parametrize("make", [bert, gpt2, llama, gemma])
def test_a_model_on_a_backbone_is_pruned_trained_stripped_and_saved(make, tmp_path):
    backbone = make()
    outputs = backbone(backbone.input)
    outputs = outputs["sequence_output"] if make is bert else outputs
    pooled = keras.layers.GlobalAveragePooling1D()(outputs)
    model = keras.Model(backbone.input, keras.layers.Dense(2, name="head")(pooled))
    pruned = tfshed.prune_low_magnitude(model, SCHEDULE, scope="layer")
    x = batch(backbone)
    train(pruned, x)

    plain = tfshed.strip_pruning(pruned)
    found = sparsities(plain)
    kernels = {path: value for path, value in found.items() if "kernel" in path}
    assert len(kernels) >= 7 and set(kernels.values()) == {0.5}
    assert {value for path, value in found.items() if "embedding" in path} == {0.0}
    tfshed.export.keras(plain, tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    assert sparsities(again) == found
    np.testing.assert_allclose(again.predict(x, verbose=0), plain.predict(x, verbose=0), rtol=1e-5)


def test_a_task_is_pruned_as_it_is():
    """A task is a class of its own: it comes back as the same object, with its methods."""
    task = keras_hub.models.BertTextClassifier(bert(), num_classes=2)
    pruned = tfshed.prune_low_magnitude(task, SCHEDULE, scope="layer", select="transformer.*kernel")
    assert pruned is task
    train(pruned, batch(task))
    plain = tfshed.strip_pruning(pruned)
    assert type(plain) is type(task)
    # A bias of the keys has no gradient, so some of its numbers stay at the zeros they began with.
    found = {
        path: value for path, value in sparsities(plain).items() if value and "bias" not in path
    }
    assert len(found) == 6 and set(found.values()) == {0.5}
    assert all("transformer_layer_0" in path for path in found)
