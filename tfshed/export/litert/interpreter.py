"""Runs LiteRT files, and compares what they give with what their model gives."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from tfshed.export.signature import as_arrays, call_model, input_names, named_outputs, random_inputs

# Of float32 files, relative to the largest output; seen: 3e-7 for ResNet-50.
TOLERANCE = 1e-4
# How much further from the model than the dense file a quantised sparse one may be: they compute
# the same weights, one with float and one with int8 activations.
SLACK = 2.0


def interpreter(content: bytes, threads: int | None = None) -> Any:
    """An interpreter: ai-edge-litert's if it is installed, else TensorFlow's older one."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import tensorflow as tf

        Interpreter = tf.lite.Interpreter
    with warnings.catch_warnings():
        # TensorFlow's says that it will move to ai-edge-litert.
        warnings.simplefilter("ignore")
        return Interpreter(model_content=content, num_threads=threads)


def examples(
    specs: list[Any], calibration: list[dict[str, np.ndarray]] | None
) -> dict[str, np.ndarray]:
    """Inputs by name: a batch of the calibration data, else random ones."""
    import keras

    if calibration is not None:
        return calibration[0]
    flat = keras.tree.flatten(as_arrays(random_inputs(specs)))
    return dict(zip(input_names(specs), flat, strict=True))


def expected_outputs(
    model: Any, specs: list[Any], inputs: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What the model itself gives, by the names of the outputs."""
    import keras

    # A layer may write its state in inference too (a stateful RNN): the user's stays as it was.
    state = [(v, keras.ops.convert_to_numpy(v)) for v in model.non_trainable_variables]
    try:
        arguments = keras.tree.pack_sequence_as(specs, list(inputs.values()))
        outputs = named_outputs(call_model(model, arguments))
    finally:
        for variable, value in state:
            variable.assign(value)
    return {k: np.asarray(keras.ops.convert_to_numpy(v)) for k, v in outputs.items()}


def difference(
    content: bytes, inputs: dict[str, np.ndarray], expected: dict[str, np.ndarray]
) -> float:
    """The largest difference of the outputs, relative to the largest output; NaN counts as inf.

    Raises:
        RuntimeError: if the interpreter refuses the file.
    """
    try:
        # The model of the file must outlive its runner.
        running = interpreter(content)
        received = running.get_signature_runner("serving_default")(**inputs)
    except (RuntimeError, ValueError) as error:
        raise RuntimeError(
            f"export: expected LiteRT's interpreter to run the file, received: {error} Nothing was "
            "kept. Pass sparse=False or other values."
        ) from error
    worst = 0.0
    for name, output in expected.items():
        a, b = output.astype("float64"), received[name].astype("float64")
        apart = np.max(np.abs(a - b), initial=0.0)
        worst = max(worst, float(apart / (np.max(np.abs(a), initial=0.0) or 1.0)))
        if np.isnan(apart):
            return float("inf")
    return worst


def check(name: str, found: float, dense: float | None, tolerance: float | None) -> None:
    """Compares differences with what is allowed.

    Args:
        name: the model's.
        found: the file's difference.
        dense: that of the dense file with the same values; None for float32.
        tolerance: what the user allows, else None.

    Raises:
        RuntimeError: if it exceeds that.
    """
    bound = TOLERANCE if dense is None else SLACK * dense + TOLERANCE
    bound = bound if tolerance is None else tolerance
    if not (np.isfinite(found) and found <= bound):
        than = "" if dense is None else f"; the dense file with the same values has {dense:.2g}"
        raise RuntimeError(
            f"export: expected the LiteRT file to give the outputs of {name!r} within {bound:.2g} "
            f"of the largest, received {found:.2g}{than}. Nothing was kept. Random numbers in the "
            "forward pass or a net that amplifies rounding would do this: pass tolerance or "
            "verify=False, and compare accuracies."
        )
