"""Compares the weights and outputs of a SavedModel with those of the exported model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfshed.export.example_inputs import as_arrays, inputs_that_run, random_inputs
from tfshed.export.saved_model.save import all_variables
from tfshed.export.saved_model.weight_files import is_kernel, packable, restored
from tfshed.export.serving import PREPROCESSED
from tfshed.export.signature import call_model

# The largest difference between outputs computed by JAX and by TensorFlow, relative to the largest
# output. Differences of about 1e-7 were observed.
JAX_TOLERANCE = 1e-5


class OutputsDifferError(RuntimeError):
    """The SavedModel computes outputs that differ from those of the model."""


def verify_saved_model(
    model: Any,
    root: Any,
    specs: list[Any],
    path: Path,
    values: str = "float32",
    raw_specs: list[Any] | None = None,
) -> tuple[float, float]:
    """Loads the SavedModel at `path` and compares it with the exported model on random inputs.

    The batch size is 2; other open sizes are 16, or less if the model does not take as much.

    Every variable must be bit-identical to the model's, after rounding to `values`. The outputs
    must be bit-identical to those of `root.serve`, which is the model's forward pass as a
    `tf.function`. On JAX they must also agree with the model called directly, up to 1e-5 of the
    largest output. If `values` rounds, outputs may differ, but must be finite where the model's
    are. Preprocessing is compared too, unless it takes strings, since random strings mean nothing.

    Args:
        model: The exported model.
        root: The object that was saved.
        specs: The model's inputs.
        path: The folder of the SavedModel.
        values: The dtype in which kernels were stored. Default "float32".
        raw_specs: The inputs of the preprocessing. Default None: there is no preprocessing.

    Returns:
        The largest difference of an output and the largest output. Both are 0 for "float32".

    Raises:
        OutputsDifferError: An output differs.
        RuntimeError: A weight differs, the model fails on random inputs, or it gives different
            outputs when it is called twice.
    """
    import keras
    import tensorflow as tf

    # It needs a name: its functions hold only weak references to its variables.
    loaded = tf.saved_model.load(str(path))
    _check_variables(root, loaded, values)
    inputs = inputs_that_run(_leaving_state(root, root.serve), specs)
    serve = _repeatable(model, root, root.serve, inputs)
    expected = serve()
    received = _arrays(loaded.serve(*inputs))
    lossy = values != "float32"
    differing = _unlike(expected, received) if lossy else _differing(expected, received)
    if differing and _differing(expected, serve()):
        raise RuntimeError(
            f"export: expected {model.name!r} to give the same outputs twice on the same inputs, "
            "received different ones, perhaps because of random numbers in the forward pass. So an "
            "export cannot be compared with it. Pass verify=False to write it unverified."
        )
    if keras.backend.backend() == "jax" and isinstance(model, keras.Model) and not lossy:
        outputs = call_model(model, as_arrays(inputs))
        differing += _apart(_arrays(outputs), received)
    if raw_specs and not any(spec.dtype == tf.string for spec in keras.tree.flatten(raw_specs)):
        raw = random_inputs(raw_specs)
        wanted = _repeatable(model, root, root.serve_with_preprocessing, raw)()
        given = _arrays(loaded.serve_with_preprocessing(*raw))
        found = _unlike(wanted, given) if lossy else _differing(wanted, given)
        differing += [f"{PREPROCESSED}: {what}" for what in found]
    if differing:
        raise OutputsDifferError(
            f"export: expected the SavedModel to give the outputs of {model.name!r}, received "
            f"others ({'; '.join(differing)}). Nothing was exported. This happens if a layer "
            "reads values that are not in its variables: make them weights of the layer."
        )
    return _largest(expected, received) if lossy else (0.0, 0.0)


def _repeatable(
    model: Any, root: Any, function: Callable[..., Any], inputs: list[Any]
) -> Callable[[], list[Any]]:
    """`function` on these inputs as often as needed, with a clear error if it does not run."""
    import keras

    run = _leaving_state(root, function)

    def serve() -> list[Any]:
        try:
            return _arrays(run(*inputs))
        except Exception as error:
            shapes = [tuple(x.shape) for x in keras.tree.flatten(inputs)]
            raise RuntimeError(
                f"export: expected {model.name!r} to run on random inputs of shapes {shapes}, "
                f"received: {error}. Pass input_signature with sizes and dtypes that it takes, "
                "or verify=False."
            ) from error

    return serve


def _leaving_state(root: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with the variables restored after each call.

    Some layers, such as a stateful RNN, write to their variables in inference too. The user's model
    must not change by being exported.
    """
    state = [(v, v.numpy()) for v in root.non_trainable_variables]

    def run(*inputs: Any) -> Any:
        try:
            return function(*inputs)
        finally:
            for variable, value in state:
                variable.assign(value)

    return run


def _check_variables(root: Any, loaded: Any, values: str) -> None:
    import numpy as np

    for mine, other in zip(all_variables(root), all_variables(loaded), strict=True):
        expected, received = mine.numpy(), other.numpy()
        if packable(mine):
            expected = restored(expected, values, is_kernel(mine))
        # `-0.0` may have become `0.0`.
        # x != x holds for NaN only, and a NaN must come back as a NaN.
        same = expected.shape == received.shape and np.all(
            (expected == received) | ((expected != expected) & (received != received))
        )
        if not same:
            raise RuntimeError(
                f"export: expected the SavedModel to hold the values of {mine.name!r}, received "
                "others. Nothing was exported. Was the model trained during the export?"
            )


def _arrays(outputs: Any) -> list[Any]:
    import keras
    import numpy as np

    return [np.asarray(leaf) for leaf in keras.tree.flatten(outputs) if leaf is not None]


def _largest(expected: list[Any], received: list[Any]) -> tuple[float, float]:
    """The largest difference of the outputs, and the largest expected output."""
    import numpy as np

    pairs = [
        (a.astype("float64"), b.astype("float64"))
        for a, b in zip(expected, received, strict=True)
        if a.dtype != object
    ]
    pairs = [(a[np.isfinite(a)], b[np.isfinite(a)]) for a, b in pairs]
    difference = max((np.abs(a - b).max(initial=0.0) for a, b in pairs), default=0.0)
    largest = max((np.abs(a).max(initial=0.0) for a, _ in pairs), default=0.0)
    return float(difference), float(largest)


def _differing(expected: list[Any], received: list[Any]) -> list[str]:
    """Descriptions of what differs: the number of outputs, their dtypes, shapes or any bit.

    NaNs with the same bits are equal. So are `-0.0` and `0.0`, as packing turns one into the other.
    """
    import numpy as np

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
            # Numbers that are equal with different bits (-0.0 and 0.0), or NaNs with equal bits, do
            # not count as different.
            sizes = (*a.shape, a.dtype.itemsize)
            bits = [np.ascontiguousarray(x).view("u1").reshape(sizes) for x in (a, b)]
            others = np.count_nonzero((a != b) & (bits[0] != bits[1]).any(axis=-1))
            if others:
                found.append(f"output {index} differs in {others} of {a.size} numbers")
    return found


def _unlike(expected: list[Any], received: list[Any]) -> list[str]:
    """What differs apart from rounding: the number of outputs, dtypes, shapes, or finiteness."""
    import numpy as np

    found = [text for text in _differing(expected, received) if "differs in" not in text]
    if found:
        return found
    for index, (a, b) in enumerate(zip(expected, received, strict=True)):
        if a.dtype != object:
            lost = np.isfinite(a.astype("float64")) & ~np.isfinite(b.astype("float64"))
            found += [f"output {index} is not finite any more"] if lost.any() else []
    return found


def _apart(expected: list[Any], received: list[Any]) -> list[str]:
    """Descriptions of the outputs that differ by more than `JAX_TOLERANCE`."""
    import numpy as np

    found = []
    for index, (a, b) in enumerate(zip(expected, received, strict=True)):
        a, b = a.astype("float64"), b.astype("float64")
        largest = float(np.max(np.abs(a), initial=0.0, where=np.isfinite(a)))
        if not np.allclose(a, b, rtol=0, atol=JAX_TOLERANCE * largest, equal_nan=True):
            found.append(f"output {index} is off by up to {np.max(np.abs(a - b))} on JAX")
    return found
