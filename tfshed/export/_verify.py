"""Compares what a SavedModel computes with what its model computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfshed.export._signature import as_arrays, random_inputs

# Between XLA compiled by JAX and by TensorFlow, relative to the largest output; seen: 1e-7.
JAX_TOLERANCE = 1e-5


def verify_saved_model(model: Any, root: Any, specs: list[Any], path: Path) -> None:
    """Loads the SavedModel at `path` and compares it with its model on random inputs.

    On TensorFlow `root.serve`, the model's forward pass as a `tf.function`, is the reference and
    every bit counts. On JAX the reference is also the model itself, called directly, to a
    relative `1e-5` of the largest output.

    Raises:
        RuntimeError: if an output differs, or the model fails on random inputs.
    """
    import keras
    import tensorflow as tf

    inputs = random_inputs(specs)
    # A layer may write its state in inference too (a stateful RNN): the user's stays as it was.
    state = [(v, v.numpy()) for v in root.non_trainable_variables]

    def serve() -> list[Any]:
        try:
            return _arrays(root.serve(*inputs))
        except Exception as error:
            shapes = [tuple(x.shape) for x in keras.tree.flatten(inputs)]
            raise RuntimeError(
                f"export: expected {model.name!r} to run on random inputs of shapes {shapes}, "
                f"received: {error}. Pass input_signature with sizes and dtypes that it takes, "
                "or verify=False."
            ) from error
        finally:
            for variable, value in state:
                variable.assign(value)

    expected = serve()
    loaded = tf.saved_model.load(str(path))  # named: its functions hold their variables weakly
    received = _arrays(loaded.serve(*inputs))
    differing = _differing(expected, received)
    if differing and _differing(expected, serve()):
        raise RuntimeError(
            f"export: expected {model.name!r} to give the same outputs twice on the same inputs, "
            "received different ones (random numbers in the forward pass?), so an export cannot "
            "be compared with it. Pass verify=False to write it unverified."
        )
    if keras.backend.backend() == "jax":
        outputs = model(*as_arrays(inputs), training=False)
        differing += _apart(_arrays(outputs), received)
    if differing:
        raise RuntimeError(
            f"export: expected the SavedModel to give the outputs of {model.name!r}, received "
            f"others ({'; '.join(differing)}). Nothing was kept. A layer that reads values from "
            "outside its variables would do this: make them weights of the layer."
        )


def _arrays(outputs: Any) -> list[Any]:
    import keras
    import numpy as np

    return [np.asarray(leaf) for leaf in keras.tree.flatten(outputs) if leaf is not None]


def _differing(expected: list[Any], received: list[Any]) -> list[str]:
    """What differs in dtype, shape or any bit; NaNs with the same bits are the same."""
    if len(expected) != len(received):
        return [f"{len(received)} outputs for {len(expected)}"]
    found = []
    for index, (a, b) in enumerate(zip(expected, received, strict=True)):
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            found.append(f"output {index} is {b.dtype} {b.shape}, not {a.dtype} {a.shape}")
        elif a.dtype == object:  # strings, whose array holds addresses
            if a.tolist() != b.tolist():
                found.append(f"output {index} holds other strings")
        elif a.tobytes() != b.tobytes():
            found.append(f"output {index} differs in {int((a != b).sum())} of {a.size} numbers")
    return found


def _apart(expected: list[Any], received: list[Any]) -> list[str]:
    """What differs by more than rounding."""
    import numpy as np

    found = []
    for index, (a, b) in enumerate(zip(expected, received, strict=True)):
        a, b = a.astype("float64"), b.astype("float64")
        largest = float(np.max(np.abs(a), initial=0.0, where=np.isfinite(a)))
        if not np.allclose(a, b, rtol=0, atol=JAX_TOLERANCE * largest, equal_nan=True):
            found.append(f"output {index} is off by up to {np.max(np.abs(a - b))} on JAX")
    return found
