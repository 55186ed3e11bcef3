"""A model's forward pass as a TensorFlow object that holds each variable once."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from tfshed.attach.keras3.private import layers_if_any
from tfshed.export.signature import call_model, check_preprocessed, input_names, named_outputs

PREPROCESSED = "serving_with_preprocessing"


def serving_object(
    model: Any, specs: list[Any], preprocessing: Any = None, raw_specs: list[Any] | None = None
) -> tuple[Any, dict[str, Any]]:
    """Returns `(root, signatures)` for `tf.saved_model.save`.

    `root.serve(*inputs)` is the forward pass in inference mode, with the model's own structure
    of inputs and outputs; `root.variables`, `root.trainable_variables` and
    `root.non_trainable_variables` are the variables that it reads, as Keras' own exports name
    them. `signatures["serving_default"]` takes and returns tensors by name. With `preprocessing`
    there are `root.serve_with_preprocessing`, `root.preprocessing_variables` and the signature
    `serving_with_preprocessing` too, which take what `raw_specs` says.
    """
    import keras
    import tensorflow as tf

    on_jax = keras.backend.backend() == "jax" and isinstance(model, keras.Model)
    forward = (_jax_forward if on_jax else _tensorflow_forward)(model, specs)
    serve = tf.function(forward, input_signature=specs, autograph=False)
    concrete = serve.get_concrete_function()

    # Keras' archive holds the model's Keras variables, each of which saves its value under its
    # own entry, next to the tf.Variables inside them: twice the bytes (keras issue 23553). Only
    # the tf.Variables that the function reads are held here, and the lists share them.
    root = tf.__internal__.tracking.AutoTrackable()
    root.serve = serve
    trainable = {id(variable) for variable in concrete.trainable_variables}
    root.variables = _in_order(concrete)
    root.trainable_variables = [v for v in root.variables if id(v) in trainable]
    root.non_trainable_variables = [v for v in root.variables if id(v) not in trainable]
    root.resources = _lookup_tables(model)
    signatures = {"serving_default": _named(serve, specs)}
    if preprocessing is not None and raw_specs is not None:

        def with_preprocessing(*raw: Any) -> Any:
            inputs = preprocessing(*raw)
            inputs = list(inputs) if len(specs) > 1 else [inputs]
            check_preprocessed(inputs, specs)
            return serve(*inputs)

        root.serve_with_preprocessing = tf.function(
            with_preprocessing, input_signature=raw_specs, autograph=False
        )
        known = {id(variable) for variable in root.variables}
        read = _in_order(root.serve_with_preprocessing.get_concrete_function())
        root.preprocessing_variables = [v for v in read if id(v) not in known]
        root.resources += _lookup_tables(preprocessing)
        signatures[PREPROCESSED] = _named(root.serve_with_preprocessing, raw_specs)
    return root, signatures


def _in_order(concrete: Any) -> list[Any]:
    """The variables that a function reads, as it reads them: TensorFlow lists them in any order."""
    place = {id(handle): i for i, handle in enumerate(concrete.captured_inputs)}

    def key(variable: Any) -> tuple[int, str]:
        # A variable with several replicas has a handle for each; its name then decides.
        handle = variable.handle if hasattr(variable, "handle") else None
        return place.get(id(handle), len(place)), variable.name

    return sorted(concrete.variables, key=key)


def _tensorflow_forward(model: Any, specs: list[Any]) -> Callable[..., Any]:
    def serve(*inputs: Any) -> Any:
        return call_model(model, inputs)

    return serve


def _jax_forward(model: Any, specs: list[Any]) -> Callable[..., Any]:
    import keras
    import numpy as np
    import tensorflow as tf
    from jax.experimental import jax2tf

    def stateless(trainable: Any, non_trainable: Any, *inputs: Any) -> Any:
        values = zip(model.trainable_variables, trainable, strict=True)
        others = zip(model.non_trainable_variables, non_trainable, strict=True)
        # What the model would write to its variables in inference is dropped. Not
        # model.stateless_call: it gives `training` also to a call that does not take it.
        with keras.StatelessScope(state_mapping=[*values, *others]):
            return call_model(model, inputs)

    def copies(variables: list[Any], trainable: bool) -> list[Any]:
        return [
            tf.Variable(np.asarray(v.value), trainable=trainable, name=v.path) for v in variables
        ]

    names = (f"d{index}" for index in count())

    def polymorphic(spec: Any) -> str:
        open_sizes = ["batch" if axis == 0 else next(names) for axis in range(spec.shape.rank)]
        sizes = [o if s is None else str(s) for s, o in zip(spec.shape, open_sizes, strict=True)]
        return f"({', '.join(sizes)})"

    converted = jax2tf.convert(
        stateless,
        polymorphic_shapes=[
            None,
            None,
            *[keras.tree.map_structure(polymorphic, entry) for entry in specs],
        ],
        # A model exported on a machine with one of the two serves on the other.
        native_serialization_platforms=("cpu", "cuda"),
        # For inference only; a saved gradient would warn at every load that it may not work.
        with_gradient=False,
    )
    trainable = copies(model.trainable_variables, True)
    non_trainable = copies(model.non_trainable_variables, False)

    def serve(*inputs: Any) -> Any:
        return converted(trainable, non_trainable, *inputs)

    return serve


def _named(serve: Any, specs: list[Any]) -> Any:
    """`serve` with tensors by name, as TensorFlow Serving and the C++ loader call it."""
    import keras
    import tensorflow as tf

    names = input_names(specs)

    def serving_default(**inputs: Any) -> dict[str, Any]:
        flat = [inputs[name] for name in names]
        return named_outputs(serve(*keras.tree.pack_sequence_as(specs, flat)))

    named_specs = {
        name: tf.TensorSpec(spec.shape, spec.dtype, name)
        for name, spec in zip(names, keras.tree.flatten(specs), strict=True)
    }
    return tf.function(serving_default, autograph=False).get_concrete_function(**named_specs)


def _lookup_tables(model: Any) -> list[Any]:
    """Tables of StringLookup, TextVectorization and the like, which no variable list names."""
    import tensorflow as tf

    kind = tf.saved_model.experimental.TrackableResource
    found: dict[int, Any] = {}
    for layer in layers_if_any(model):
        found.update({id(v): v for v in vars(layer).values() if isinstance(v, kind)})
    return list(found.values())
