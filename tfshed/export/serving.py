"""Makes a TensorFlow object of a model's forward pass, which `tf.saved_model.save` can write."""

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
    of inputs and outputs. `root.variables`, `root.trainable_variables` and
    `root.non_trainable_variables` are the variables that it reads; Keras' own exports use these
    names too. `signatures["serving_default"]` takes and returns tensors by name. With
    `preprocessing`, there are also `root.serve_with_preprocessing`, `root.preprocessing_variables`
    and the signature `serving_with_preprocessing`, whose inputs are described by `raw_specs`.
    """
    import keras
    import tensorflow as tf

    on_jax = keras.backend.backend() == "jax" and isinstance(model, keras.Model)
    forward = (_jax_forward if on_jax else _tensorflow_forward)(model, specs)
    serve = tf.function(forward, input_signature=specs, autograph=False)
    concrete = serve.get_concrete_function()

    # Keras' own export holds Keras variables and the tf.Variables inside of them. Each saves its
    # value in an entry of its own, which takes twice the bytes (keras issue 23553). This object
    # holds only the tf.Variables that the function reads, and the three lists share them.
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
    """The variables that a function reads, in the order of its inputs.

    TensorFlow lists them in an order that changes from run to run.
    """
    place = {id(handle): i for i, handle in enumerate(concrete.captured_inputs)}

    def key(variable: Any) -> tuple[int, str]:
        # A variable with several replicas has several handles, none of which is found: such
        # variables come last, in the order of their names.
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
        # What the model would write to its variables in inference is dropped. This is not
        # model.stateless_call, which passes `training` even to a call that does not take it.
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
        # So a model that was exported on a machine without GPU runs on one with, and vice versa.
        native_serialization_platforms=("cpu", "cuda"),
        # The export is for inference. A saved gradient would cause a warning at every loading.
        with_gradient=False,
    )
    trainable = copies(model.trainable_variables, True)
    non_trainable = copies(model.non_trainable_variables, False)

    def serve(*inputs: Any) -> Any:
        return converted(trainable, non_trainable, *inputs)

    return serve


def _named(serve: Any, specs: list[Any]) -> Any:
    """`serve` as a signature, which takes tensors by name: TensorFlow Serving and C++ need one."""
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
    """The tables of StringLookup, TextVectorization, ..., which are not among their variables."""
    import tensorflow as tf

    kind = tf.saved_model.experimental.TrackableResource
    found: dict[int, Any] = {}
    for layer in layers_if_any(model):
        found.update({id(v): v for v in vars(layer).values() if isinstance(v, kind)})
    return list(found.values())
