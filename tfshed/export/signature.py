"""What goes into and comes out of a model: specs, names and random examples."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

# For dimensions that a model leaves open, in the examples that an export is checked with.
BATCH = 2
OPEN_DIMENSION = 16


def input_specs(model: Any, input_signature: Any = None) -> list[Any]:
    """Returns one structure of `tf.TensorSpec` for each positional argument of `model.call`.

    Functional and Sequential models say themselves what they take; a subclassed model is known
    by the shapes that it was first called with. The batch is left open, unless
    `input_signature` fixes it.

    Raises:
        ValueError: if a model's inputs cannot be known.
        TypeError: if `input_signature` is not a list or holds something that is no spec.
    """
    import keras

    if input_signature is not None:
        if not isinstance(input_signature, list | tuple):
            raise TypeError(
                "export: expected input_signature as a list with one entry (a spec or a "
                "structure of specs) for each positional argument of model.call, received "
                f"{type(input_signature).__name__}. Put it in a list: [spec]."
            )
        return [keras.tree.map_structure(_tensor_spec, entry) for entry in input_signature]
    if not isinstance(model, keras.Model):  # of tf_keras, which knows itself
        specs = model.save_spec()
        if specs is None or specs[0] is None or specs[1]:
            raise ValueError(
                f"export: expected to know the positional inputs of {model.name!r}, received "
                f"{specs}. Pass input_signature=[tf.TensorSpec((None, ...), dtype), ...] with one "
                "entry for each argument."
            )
        return list(specs[0])
    if isinstance(model, keras.Sequential):
        return [_open_batch(tensor.shape, tensor.dtype, tensor.name) for tensor in model.inputs]
    if getattr(model, "inputs", None) is not None:
        given = model.input[0] if _takes_a_list_of_one(model) else model.input
        return [
            keras.tree.map_structure(
                lambda tensor: _open_batch(tensor.shape, tensor.dtype, tensor.name), given
            )
        ]
    return _called_specs(model)


def call_model(model: Any, inputs: Sequence[Any]) -> Any:
    """The model's outputs in inference mode for one argument for each of `input_specs`.

    A model of one input is exported as a function of it alone, also where Keras calls it with a
    list of one, as a model that was made with `keras.Model([x], y)`.
    """
    if _takes_a_list_of_one(model):
        inputs = [[x] if not isinstance(x, list | tuple) else x for x in inputs]
    return model(*inputs, training=False)


def _takes_a_list_of_one(model: Any) -> bool:
    import keras

    if not isinstance(model, keras.Model) or isinstance(model, keras.Sequential):
        return False
    given = model.input if getattr(model, "inputs", None) is not None else None
    return isinstance(given, list | tuple) and len(given) == 1


def check_preprocessed(inputs: list[Any], specs: list[Any]) -> None:
    """Raises a ValueError unless the tensors that preprocessing gave fit the model's inputs."""
    import keras
    import tensorflow as tf

    given = keras.tree.map_structure(lambda x: tf.TensorSpec(x.shape, x.dtype), inputs)
    wanted = keras.tree.flatten(specs)
    flat = keras.tree.flatten(given)
    fits = len(flat) == len(wanted) and all(
        a.dtype == b.dtype and a.shape.is_compatible_with(b.shape)
        for a, b in zip(flat, wanted, strict=True)
    )
    if not fits:
        raise ValueError(
            f"export: expected preprocessing to return the model's inputs, {specs}, received "
            f"{given}. Cast and shape them so in preprocessing; for a call with several arguments "
            "return a list with one entry for each."
        )


def input_names(specs: list[Any]) -> list[str]:
    """Returns a name for each tensor in `specs`, in order, that a signature can use.

    The keys of dictionaries, else the names that the user gave to inputs, else `input_0`,
    `input_1`, ... Keras' own names (`keras_tensor_7`) change from run to run and are not used.
    """
    import keras

    names = []
    for index, (path, spec) in enumerate(keras.tree.flatten_with_path(specs)):
        keys = [str(key) for key in path[1:]]
        given = spec.name if spec.name and not spec.name.startswith("keras_tensor") else ""
        keyed = any(isinstance(key, str) for key in path[1:])
        name = "_".join(keys) if keyed else given or f"input_{index}"
        names.append(re.sub(r"\W|^(?=\d)", "_", name))
    if len(set(names)) < len(names):
        return [f"input_{index}" for index in range(len(names))]
    return names


def named_outputs(outputs: Any) -> dict[str, Any]:
    """Flattens outputs for a signature: a dictionary's keys, else `output_0`, `output_1`, ..."""
    import keras

    flat = [
        (path, leaf) for path, leaf in keras.tree.flatten_with_path(outputs) if leaf is not None
    ]
    if isinstance(outputs, dict):
        named = {"_".join(str(key) for key in path): leaf for path, leaf in flat}
        if len(named) == len(flat):
            return named
    return {f"output_{index}": leaf for index, (_, leaf) in enumerate(flat)}


def random_inputs(specs: list[Any], seed: int = 0, size: int = OPEN_DIMENSION) -> list[Any]:
    """Returns one argument for each of `specs`, as TensorFlow tensors.

    Floats are standard normal, integers and booleans 0 or 1 (valid in every embedding), strings
    `a` or `b`. An open batch is 2, any other open dimension `size`.
    """
    import keras
    import numpy as np
    import tensorflow as tf

    random = np.random.default_rng(seed)

    def example(spec: Any) -> Any:
        open_sizes = [BATCH] + [size] * (spec.shape.rank or 0)
        shape = [o if s is None else s for s, o in zip(spec.shape, open_sizes, strict=False)]
        if spec.dtype == tf.string:
            return tf.constant(random.choice(["a", "b"], shape))
        if spec.dtype.is_floating or spec.dtype.is_complex:
            return tf.cast(random.standard_normal(shape), spec.dtype)
        return tf.cast(random.integers(0, 2, shape), spec.dtype)

    return [keras.tree.map_structure(example, entry) for entry in specs]


def inputs_that_run(function: Callable[..., Any], specs: list[Any]) -> list[Any]:
    """Returns random inputs that `function` takes, in shorter and shorter open dimensions.

    Some models have a longest length, such as one with an embedding of positions, of which their
    specs say nothing. Where none runs, the longest inputs come back, whose error then counts.

    >>> import tensorflow as tf
    >>> short = tf.ones((5,))
    >>> inputs_that_run(lambda x: x + short[: x.shape[1]], [tf.TensorSpec((None, None))])[0].shape
    TensorShape([2, 4])
    """
    size = OPEN_DIMENSION
    while size:
        inputs = random_inputs(specs, size=size)
        if size == OPEN_DIMENSION and not any(_is_open(spec) for spec in _flat(specs)):
            return inputs
        try:
            function(*inputs)
        except Exception:
            size //= 2
        else:
            return inputs
    return random_inputs(specs)


def _flat(specs: list[Any]) -> list[Any]:
    import keras

    return list(keras.tree.flatten(specs))


def _is_open(spec: Any) -> bool:
    """Whether any axis but the first has no size."""
    return spec.shape.rank is None or None in tuple(spec.shape)[1:]


def as_arrays(inputs: list[Any]) -> list[Any]:
    """TensorFlow tensors as arrays, which a model on any backend takes."""
    import keras

    return [keras.tree.map_structure(lambda x: x.numpy(), entry) for entry in inputs]


def _open_batch(shape: Any, dtype: str, name: str | None = None) -> Any:
    import tensorflow as tf

    # Also for a Sequential model built by its first call, whose shape has that call's batch.
    return tf.TensorSpec((None, *tuple(shape)[1:]), dtype, name)


def _tensor_spec(spec: Any) -> Any:
    import keras
    import tensorflow as tf

    if isinstance(spec, tf.TensorSpec):
        return spec
    if isinstance(spec, keras.InputSpec | keras.KerasTensor):
        if spec.shape is None or spec.dtype is None:
            raise ValueError(
                f"export: expected a shape and a dtype in every input spec, received {spec}. "
                "Give both, with None for sizes that are open."
            )
        return tf.TensorSpec(spec.shape, spec.dtype, getattr(spec, "name", None))
    raise TypeError(
        "export: expected keras.InputSpec, keras.KerasTensor or tf.TensorSpec in input_signature, "
        f"received {type(spec).__name__}. Describe the input by its shape and dtype."
    )


def _called_specs(model: Any) -> list[Any]:
    """Specs of a subclassed model, from the shapes that Keras kept of the first call."""
    config = model.get_build_config() or {}
    shapes = [config["input_shape"]] if "input_shape" in config else config.get("shapes_dict")
    if isinstance(shapes, dict):
        shapes = list(shapes.values())
    required = [
        parameter.name
        for parameter in inspect.signature(model.call).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and parameter.name not in ("training", "mask")
    ]
    # Keras keeps the first argument's shape only, unless the model's own build() names them all.
    if not shapes or len(shapes) < len(required):
        raise ValueError(
            f"export: expected to know the inputs of {model.name!r}, whose call takes "
            f"{', '.join(required) or 'no named argument'}; received shapes for "
            f"{len(shapes or [])}. Pass input_signature=[keras.InputSpec(shape=(None, ...), "
            "dtype=...), ...] with one entry for each argument."
        )
    return [_specs_of_shapes(shape, model.variable_dtype) for shape in shapes]


def _specs_of_shapes(shapes: Any, dtype: str) -> Any:
    if isinstance(shapes, dict):
        return {key: _specs_of_shapes(value, dtype) for key, value in shapes.items()}
    if all(size is None or isinstance(size, int) for size in shapes):
        return _open_batch(shapes, dtype)
    return [_specs_of_shapes(value, dtype) for value in shapes]
