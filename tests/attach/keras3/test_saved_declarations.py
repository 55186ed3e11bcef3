"""Subclassed models, and such as KerasHub's tasks, keep their declaration in a `.keras` file."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers as L

import tfshed
from tests.nets import array, kept
from tests.nets import normal as data

HALF = tfshed.ConstantSparsity(0.5, 0, frequency=1)
EAGER = keras.backend.backend() != "jax"


@keras.saving.register_keras_serializable("tests")
class Plain(keras.Model):
    """A subclassed model whose constructor takes nothing that it does not know."""

    def __init__(self, width, name=None):
        super().__init__(name=name)
        self.width = width
        self.hidden = L.Dense(width, name="hidden")
        self.head = L.Dense(2, name="head")

    def call(self, x):
        return self.head(self.hidden(x))

    def get_config(self):
        return {"width": self.width, "name": self.name}


@keras.saving.register_keras_serializable("tests")
class CompilesItself(Plain):
    """With a `compile` of its own, which Keras then does not call when it loads the model."""

    def compile(self, optimizer="sgd", loss="mse", **kwargs):
        super().compile(optimizer, loss, **kwargs)


@keras.saving.register_keras_serializable("tests")
class Task(keras.Model):
    """As a task of KerasHub: a functional model by inheritance, compiled in its constructor."""

    def __init__(self, backbone, **kwargs):
        inputs = backbone.input
        super().__init__(inputs, L.Dense(2, name="logits")(backbone(inputs)), **kwargs)
        self.backbone = backbone
        self.compile()

    def compile(self, optimizer="auto", loss="auto", **kwargs):
        optimizer = keras.optimizers.SGD(0.01) if optimizer == "auto" else optimizer
        super().compile(optimizer, "mse" if loss == "auto" else loss, **kwargs)

    def get_config(self):
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        backbone = keras.saving.deserialize_keras_object(config["backbone"])
        return cls(backbone, name=config["name"])


@keras.saving.register_keras_serializable("tests")
class Backbone(keras.Model):
    def __init__(self, width, **kwargs):
        inputs = keras.Input((8,))
        super().__init__(inputs, L.Dense(width, name="inside")(inputs), **kwargs)
        self.width = width

    def get_config(self):
        return {"width": self.width, "name": self.name}


def plain():
    model = Plain(8, name="plain")
    model(data(1, 8))
    return model


def compiles_itself():
    model = CompilesItself(8, name="own")
    model(data(1, 8))
    return model


MODELS = {
    "plain": plain,
    "compiles itself": compiles_itself,
    "task": lambda: Task(Backbone(8, name="backbone"), name="task"),
}


def train(model, callbacks=None, **kwargs):
    callbacks = [tfshed.UpdatePruningStep()] if callbacks is None else callbacks
    model.compile("sgd", "mse", run_eagerly=EAGER)
    model.fit(data(8, 8), data(8, 2), batch_size=4, verbose=0, callbacks=callbacks, **kwargs)


def kernels(model):
    return [v for v in model.trainable_variables if v.name == "kernel"]


@pytest.mark.backend
@pytest.mark.filterwarnings("ignore:`compile\\(\\)` was not called:UserWarning")
@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer:UserWarning")
@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("kind", MODELS)
def test_a_model_without_wrappers_is_loaded_declared(kind, compiled, tmp_path):
    model = tfshed.prune_low_magnitude(MODELS[kind](), HALF)
    train(model)
    assert [kept(k) for k in kernels(model)] == [0.5, 0.5]
    class_before, config = type(model), model.get_config()
    model.save(tmp_path / "m.keras")
    assert type(model) is class_before and model.get_config() == config

    loaded = keras.models.load_model(tmp_path / "m.keras", compile=compiled)
    assert type(loaded) is class_before
    np.testing.assert_array_equal(array(loaded(data(4, 8))), array(model(data(4, 8))))
    # Compiled anew, it does not train its zeros away without a word, and prunes on.
    loaded.compile("sgd", "mse", run_eagerly=EAGER)
    with pytest.raises(RuntimeError, match=r"Add tfshed.UpdatePruningStep\(\)"):
        loaded.fit(data(4, 8), data(4, 2), verbose=0)
    zeros = [array(k) == 0 for k in kernels(loaded)]
    train(loaded)
    for kernel, zero in zip(kernels(loaded), zeros):
        assert kept(kernel) == 0.5 and not array(kernel)[zero].any()
    # What is stripped is saved as it was written by its author.
    tfshed.strip_pruning(loaded).save(tmp_path / "s.keras")
    stripped = keras.models.load_model(tmp_path / "s.keras")
    stripped.compile("sgd", "mse", run_eagerly=EAGER)
    stripped.fit(data(4, 8), data(4, 2), verbose=0)


@pytest.mark.backend
def test_rules_that_cannot_be_saved_are_saved_as_what_they_chose(tmp_path):
    model = plain()
    tfshed.prune_low_magnitude(model, HALF, select=lambda layer, v: layer.name == "head")
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    train(loaded)
    assert [kept(k) for k in kernels(loaded)] == [1.0, 0.5]
    assert [row.reason for row in tfshed.summary(loaded, print_fn=str).rows] == [
        "not declared when the model was saved",
        "",
    ]


def test_a_checkpoint_callback_saves_the_declaration(tmp_path):
    model = tfshed.prune_low_magnitude(plain(), HALF)
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "m.keras")
    train(model, callbacks=[tfshed.UpdatePruningStep(), checkpoint])
    loaded = keras.models.load_model(tmp_path / "m.keras", compile=False)
    loaded.compile("sgd", "mse", run_eagerly=EAGER)
    with pytest.raises(RuntimeError, match="no optimizer prunes it"):
        loaded.fit(data(4, 8), data(4, 2), verbose=0)


@pytest.mark.filterwarnings("ignore:You are saving:UserWarning")
def test_what_cannot_be_saved_is_told(tmp_path):
    model = tfshed.prune_low_magnitude(Plain(8), HALF)
    with pytest.warns(UserWarning, match="is saved without what tfshed.prune_low_magnitude"):
        model.save(tmp_path / "m.keras")
    task = tfshed.prune_low_magnitude(MODELS["task"](), HALF)
    with pytest.warns(UserWarning, match="only the .keras format"):
        task.save(tmp_path / "m.h5")
