"""Two methods of a declared model: it refuses to train unpruned, and is saved as declared.

`guard` replaces the method with which `fit` begins, `declare_whole` also the method `save` of a
model that has no wrappers.
"""

from __future__ import annotations

import warnings
from typing import Any

import keras

from tfshed.attach.decisions import pruned_kernels
from tfshed.attach.declaration import Declaration
from tfshed.attach.declared import declaration_of, put_declaration
from tfshed.attach.keras3.declarations import declaring
from tfshed.attach.keras3.private import delete_untracked, set_class, set_untracked
from tfshed.attach.keras3.wrapper import PruneLowMagnitude
from tfshed.attach.keras3.wrapping import make_ready

# Methods that are set on a model itself, over those of its class.
METHODS = ("make_train_function", "save")


def guard(model: Any) -> None:
    """Makes `fit` an error while the optimizer does not prune, before it has begun.

    A wrapper sees by itself that it is trained. In a model without wrappers nothing else would see
    it, and an error inside the step of JAX's trainer costs the model its weights.
    """
    make = model.make_train_function

    def checked(*args: Any, **kwargs: Any) -> Any:
        # One may have been compiled in by hand: built now, before the step is traced.
        if not make_ready(model) and _has_something_to_prune(model):
            raise RuntimeError(
                f"{model.name} is trained, but no optimizer prunes it. Add "
                "tfshed.UpdatePruningStep() to the callbacks of fit(), or compile it with "
                "tfshed.PruningOptimizer(optimizer, model)."
            )
        return make(*args, **kwargs)

    set_untracked(model, make_train_function=checked)


def declare_whole(model: Any, declaration: Declaration) -> None:
    """Declares a whole model: it refuses to train without pruning, and is saved declared."""
    put_declaration(model, declaration)
    guard(model)
    set_untracked(model, save=lambda *args, **kwargs: _save(model, *args, **kwargs))


def unguard(model: Any) -> None:
    """Takes the model's own methods back."""
    delete_untracked(model, *METHODS)


def _has_something_to_prune(model: Any) -> bool:
    return any(_is_to_be_pruned(layer) for layer in declaring(model))


def _is_to_be_pruned(layer: Any) -> bool:
    """Whether a declaring layer or model has, or may get, kernels that are trained."""
    if isinstance(layer, PruneLowMagnitude):
        trained = any(kernel.variable.trainable for kernel in layer.chosen_kernels())
        return trained or not layer.layer.built
    declaration = declaration_of(layer)
    assert declaration is not None
    return not layer.built or bool(pruned_kernels(declaration.decide(layer)))


@keras.saving.register_keras_serializable(package="tfshed")
class PrunedModel:
    """A declared model without wrappers in a `.keras` file; reading it declares the model again.

    Keras writes the class of what it saves, and nothing of the model's own class would read a
    declaration. So the file says `tfshed>PrunedModel` in its place, and holds the model's own class
    and configuration inside. How it was compiled stays outside, where `load_model(compile=False)`
    looks for it.
    """

    # Set in the subclass of the model's own class that `_save` makes.
    own_class: Any
    declaration: Any

    def get_config(self) -> dict[str, Any]:
        own = {
            "module": self.own_class.__module__,
            "class_name": self.own_class.__name__,
            "config": self.own_class.get_config(self),
            "registered_name": keras.saving.get_registered_name(self.own_class),
        }
        return {"model": own, "declaration": self.declaration}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        model = keras.saving.deserialize_keras_object(config["model"])
        declare_whole(model, Declaration.from_config(config["declaration"]))
        return model


def _save(model: Any, filepath: Any, *args: Any, **kwargs: Any) -> Any:
    kind = type(model)
    if not model.built:
        warnings.warn(
            f"{model.name} is saved without what tfshed.prune_low_magnitude declared, since it is "
            "not built and has no kernels yet. Call the model once before it is saved.",
            stacklevel=3,
        )
        return kind.save(model, filepath, *args, **kwargs)
    if str(filepath).endswith((".h5", ".hdf5")):
        warnings.warn(
            f"{model.name} is saved without what tfshed.prune_low_magnitude declared, which only "
            "the .keras format holds. Call prune_low_magnitude again on what is loaded.",
            stacklevel=3,
        )
        return kind.save(model, filepath, *args, **kwargs)
    declaration = declaration_of(model)
    assert declaration is not None
    # Keras takes the name to write from the class, and all the rest from the object.
    written = type(
        "tfshed>PrunedModel",
        (PrunedModel, kind),
        {"own_class": kind, "declaration": declaration.get_config(model)},
    )
    set_class(model, written)
    try:
        return kind.save(model, filepath, *args, **kwargs)
    finally:
        set_class(model, kind)
