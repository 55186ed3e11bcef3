"""The types of what users hand over, as far as Keras has names for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import keras

from tfshed.core.criteria import Criterion


class Keras2Layer(Protocol):
    """A layer or model of tf_keras, which is named by what it has, as tf_keras may be missing."""

    name: str
    built: bool
    trainable: bool

    @property
    def weights(self) -> list[Any]:
        """All variables of the layer."""


class Keras2Optimizer(Protocol):
    """An optimizer of tf_keras, a legacy one too."""

    @property
    def iterations(self) -> Any:
        """The steps done."""

    def apply_gradients(self, grads_and_vars: Any) -> Any:
        """Takes one step."""


class ScheduleLike(Protocol):
    """A pruning schedule: one of tfshed's, one of tfmot's, or any object with these two methods."""

    def __call__(self, step: Any) -> tuple[Any, Any]:
        """Returns (should_prune, sparsity) at an optimizer step."""

    def get_config(self) -> dict[str, Any]:
        """Returns what the schedule is made of, so that it can be saved."""


# A model gives a model, a layer gives a layer and a list gives a list.
Prunable = TypeVar("Prunable", keras.Model, keras.Layer, list[keras.Layer], Keras2Layer)
# Under this name where `keras` means something else.
Keras3Model: TypeAlias = keras.Model
AnyModel = TypeVar("AnyModel", keras.Model, Keras2Layer)
LayerOfEither = TypeVar("LayerOfEither", keras.Layer, Keras2Layer)
GivenLayer = TypeVar("GivenLayer", bound=keras.Layer)

# An array or tensor of NumPy, TensorFlow, JAX or PyTorch, which share no class.
Array: TypeAlias = Any
# What training writes about a batch or an epoch, which a callback may add to.
Logs: TypeAlias = "dict[str, Any] | None"
# A regex for kernel paths, or a function of the layer and its variable.
Pattern: TypeAlias = "str | Callable[[Any, Any], bool | None]"
Select: TypeAlias = "Pattern | Sequence[tuple[Pattern, bool]] | None"
# A registered name, a name with arguments, or an object.
CriterionChoice: TypeAlias = "str | dict[str, Any] | Criterion"
ScheduleChoice: TypeAlias = "ScheduleLike | dict[str, Any] | str"

__all__ = [
    "AnyModel",
    "Array",
    "CriterionChoice",
    "GivenLayer",
    "Keras2Layer",
    "Keras2Optimizer",
    "Keras3Model",
    "LayerOfEither",
    "Logs",
    "Prunable",
    "Pattern",
    "ScheduleChoice",
    "ScheduleLike",
    "Select",
]
