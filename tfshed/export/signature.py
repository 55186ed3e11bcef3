"""What goes into a model and comes out of it: the specs and the names of its tensors."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any


def input_specs(model: Any, input_signature: Any = None) -> list[Any]:
    """Returns one structure of `tf.TensorSpec` for each positional argument of `model.call`.

    Functional and Sequential models declare their inputs. For a subclassed model, Keras remembers
    the shapes of its first call. The batch is left open, unless `input_signature` fixes it.

    Args:
        model: A model of Keras 3 or tf_keras.
        input_signature: A list with a spec, or a structure of specs, for each positional argument.
            Default None: the model's own inputs.

    Raises:
        ValueError: The inputs of the model are not known.
        TypeError: `input_signature` is not a list, or holds something that is no spec.
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
    if not isinstance(model, keras.Model):  # a model of tf_keras, which stores its own specs
        specs = model.save_spec()
        if specs is None or specs[0] is None or specs[1]:
            raise ValueError(
                f"export: expected a model whose positional inputs are known, received "
                f"{model.name!r} with the specs {specs}. Pass "
                "input_signature=[tf.TensorSpec((None, ...), dtype), ...] with one entry for each "
                "argument."
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


def fixed_batch(specs: list[Any], batch_size: int | None) -> list[Any]:
    """The same specs with this many examples in their first axis; None: as they are.

    Raises:
        ValueError: if a spec has another size there, or no axes.
    """
    import keras
    import tensorflow as tf

    if batch_size is None:
        return specs

    def fixed(spec: Any) -> Any:
        shape = tuple(spec.shape)
        if not shape or shape[0] not in (None, batch_size):
            raise ValueError(
                f"export: expected inputs whose first axis is open or {batch_size}, for "
                f"batch_size={batch_size}, received one of shape {shape}. Leave out batch_size or "
                "change input_signature."
            )
        return tf.TensorSpec((batch_size, *shape[1:]), spec.dtype, spec.name)

    return [keras.tree.map_structure(fixed, entry) for entry in specs]


def call_model(model: Any, inputs: Sequence[Any]) -> Any:
    """Returns the model's outputs in inference mode, for one argument for each of `input_specs`.

    A model with one input is exported as a function of one tensor, even if Keras calls it with a
    list of one tensor, as it does for `keras.Model([x], y)`.
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
    """Raises a ValueError unless the tensors that preprocessing returned fit the model's inputs."""
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
            f"{given}. Cast and reshape them in preprocessing; for a model with several arguments "
            "return a list with one entry for each."
        )


def input_names(specs: list[Any]) -> list[str]:
    """Returns a name for each tensor in `specs`, in order, that a signature can use.

    These are the keys of dictionaries, or else the names that the user gave to inputs, or else
    `input_0`, `input_1`, ... Names that Keras made up (`keras_tensor_7`) are not used, since they
    change from run to run.

    >>> import tensorflow as tf
    >>> spec = tf.TensorSpec((None, 4))
    >>> input_names([{"text": spec, "length": spec}]), input_names([spec, spec])
    (['length', 'text'], ['input_0', 'input_1'])
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
    """Flattens outputs for a signature, by a dictionary's keys or as `output_0`, `output_1`, ..."""
    import keras

    flat = [
        (path, leaf) for path, leaf in keras.tree.flatten_with_path(outputs) if leaf is not None
    ]
    if isinstance(outputs, dict):
        named = {"_".join(str(key) for key in path): leaf for path, leaf in flat}
        if len(named) == len(flat):
            return named
    return {f"output_{index}": leaf for index, (_, leaf) in enumerate(flat)}


def _open_batch(shape: Any, dtype: str, name: str | None = None) -> Any:
    import tensorflow as tf

    # The given size is ignored, as a Sequential model that was built by its first call remembers
    # the batch size of that call.
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
                "Give both, with None for each size that is open."
            )
        return tf.TensorSpec(spec.shape, spec.dtype, getattr(spec, "name", None))
    raise TypeError(
        "export: expected keras.InputSpec, keras.KerasTensor or tf.TensorSpec in input_signature, "
        f"received {type(spec).__name__}. Describe the input by its shape and dtype."
    )


def _called_specs(model: Any) -> list[Any]:
    """The specs of a subclassed model, from the shapes that Keras remembers of its first call."""
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
    # Keras remembers only the shape of the first argument, unless the model's build() names all.
    if not shapes or len(shapes) < len(required):
        raise ValueError(
            f"export: expected a model whose inputs are known, received {model.name!r}, whose call "
            f"takes {', '.join(required) or 'no named argument'} and of which Keras knows "
            f"{len(shapes or [])} shapes. Pass input_signature=[keras.InputSpec(shape=(None, ...), "
            "dtype=...), ...] with one entry for each argument."
        )
    return [_specs_of_shapes(shape, model.variable_dtype) for shape in shapes]


def _specs_of_shapes(shapes: Any, dtype: str) -> Any:
    if isinstance(shapes, dict):
        return {key: _specs_of_shapes(value, dtype) for key, value in shapes.items()}
    if all(size is None or isinstance(size, int) for size in shapes):
        return _open_batch(shapes, dtype)
    return [_specs_of_shapes(value, dtype) for value in shapes]
