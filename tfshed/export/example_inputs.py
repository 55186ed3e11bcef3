"""Random inputs on which an export is compared with its model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# The sizes that random inputs have where the model leaves an axis open: the first axis, and others.
BATCH = 2
OPEN_DIMENSION = 16


def random_inputs(specs: list[Any], seed: int = 0, size: int = OPEN_DIMENSION) -> list[Any]:
    """Returns one random argument for each of `specs`, as TensorFlow tensors.

    Floats are drawn from the standard normal distribution. Integers and booleans are 0 or 1, which
    are valid indices of every embedding of two rows or more. Strings are "a" or "b".

    Args:
        specs: One structure of `tf.TensorSpec` for each argument, as from `input_specs`.
        seed: The seed of the random numbers. The same seed gives the same inputs.
        size: The size of open axes. An open first axis, the batch, always has size 2.
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
    """Returns random inputs on which `function` runs; open axes have size 16, 8, 4, 2 or 1.

    Some models cannot take inputs longer than some length, such as those with an embedding of
    positions, and their specs do not say so. The largest size that runs is used. If none runs, the
    inputs of size 16 are returned, and calling the function on them raises the error that the user
    should see.

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
    """TensorFlow tensors as NumPy arrays, which a model takes on every backend."""
    import keras

    return [keras.tree.map_structure(lambda x: x.numpy(), entry) for entry in inputs]
