"""Runs LiteRT files, and compares what they give with what their model gives."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from tfshed.export.signature import (
    as_arrays,
    call_model,
    input_names,
    inputs_that_run,
    named_outputs,
)

# Of float32 files, relative to the largest output; seen: 3e-7 for ResNet-50.
TOLERANCE = 1e-4
# How much further from the model than the dense file a quantised sparse one may be: they compute
# the same weights, one with float and one with int8 activations.
SLACK = 2.0
# Differences of dense quantised files beyond which they do not compute the model.
LARGEST = {"float16": 0.02, "int8": 0.5}


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
    model: Any, specs: list[Any], calibration: list[dict[str, np.ndarray]] | None
) -> dict[str, np.ndarray]:
    """Inputs by name: a batch of the calibration data, else random ones."""
    import keras

    if calibration is not None:
        return calibration[0]
    chosen = inputs_that_run(lambda *x: call_model(model, as_arrays(list(x))), specs)
    flat = keras.tree.flatten(as_arrays(chosen))
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


class Comparison:
    """What a model's LiteRT files are compared with, and by how much they may differ.

    Args:
        model, specs: The Keras model and its inputs.
        calibration: `representative_data` as batches; None without any.
        values: "float32", "float16" or "int8".
        tolerance: What the user allows, else None.
        content: The dense file with the same values.

    Attributes:
        dense: The dense file's difference; None for float32.

    Raises:
        RuntimeError: The dense file itself is not the model.
    """

    def __init__(
        self,
        model: Any,
        specs: list[Any],
        calibration: list[dict[str, np.ndarray]] | None,
        values: str,
        tolerance: float | None,
        content: bytes,
    ) -> None:
        self.name, self.tolerance = model.name, tolerance
        self.inputs = examples(model, specs, calibration)
        self.expected = expected_outputs(model, specs, self.inputs)
        self.dense: float | None = None
        if values != "float32":
            self.dense = difference(content, self.inputs, self.expected)
            # Its rounding is no measure of anything if it is not the model.
            if not self.dense <= LARGEST[values] and tolerance is None:
                raise RuntimeError(self._message(LARGEST[values], self.dense, ""))

    def check(self, content: bytes) -> float:
        """Returns a file's difference.

        Raises:
            RuntimeError: The interpreter refuses the file, or it differs by more than is allowed.
        """
        found = difference(content, self.inputs, self.expected)
        bound = TOLERANCE if self.dense is None else SLACK * self.dense + TOLERANCE
        bound = bound if self.tolerance is None else self.tolerance
        if not (np.isfinite(found) and found <= bound):
            than = ""
            if self.dense is not None:
                than = f"; the dense file with the same values has {self.dense:.2g}"
            raise RuntimeError(self._message(bound, found, than))
        return found

    def _message(self, bound: float, found: float, than: str) -> str:
        return (
            f"export: expected the LiteRT file to give the outputs of {self.name!r} within "
            f"{bound:.2g} of the largest, received {found:.2g}{than}. Nothing was kept. Random "
            "numbers in the forward pass or a net that amplifies rounding would do this: pass "
            "tolerance or verify=False, and compare accuracies."
        )
