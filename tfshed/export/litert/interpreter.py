"""Runs LiteRT files, and compares their outputs with those of the exported model."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from tfshed.export.example_inputs import as_arrays, inputs_that_run
from tfshed.export.signature import call_model, input_names, named_outputs

# The largest allowed difference of float32 outputs, relative to the largest output. 3e-7 was
# observed for ResNet-50.
TOLERANCE = 1e-4
# How many times the difference of the dense quantised file a sparse one may have. They hold the
# same weights, but one may compute with float and the other with int8 activations.
SLACK = 2.0
# If a dense quantised file differs by more than this, it does not compute the model at all.
LARGEST = {"float16": 0.02, "int8": 0.5}


def interpreter(content: bytes, threads: int | None = None) -> Any:
    """Returns an interpreter: ai-edge-litert's if it is installed, else TensorFlow's older one."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import tensorflow as tf

        Interpreter = tf.lite.Interpreter
    with warnings.catch_warnings():
        # TensorFlow's interpreter warns that it will move to ai-edge-litert.
        warnings.simplefilter("ignore")
        return Interpreter(model_content=content, num_threads=threads)


def examples(
    model: Any, specs: list[Any], calibration: list[dict[str, np.ndarray]] | None
) -> dict[str, np.ndarray]:
    """Returns inputs by name: the first batch of the calibration data, or random ones."""
    import keras

    if calibration is not None:
        return calibration[0]
    chosen = inputs_that_run(lambda *x: call_model(model, as_arrays(list(x))), specs)
    flat = keras.tree.flatten(as_arrays(chosen))
    return dict(zip(input_names(specs), flat, strict=True))


def expected_outputs(
    model: Any, specs: list[Any], inputs: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Returns the outputs of the model itself, by name."""
    import keras

    # Some layers, such as a stateful RNN, write to their variables in inference too. The user's
    # model must not change by being exported.
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
    """Returns the largest difference of the outputs, relative to the largest output.

    A NaN counts as an infinite difference.

    Raises:
        RuntimeError: The interpreter refuses the file.
    """
    try:
        # The interpreter needs a name: it must outlive its signature runner.
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
    """The expected outputs of a model's LiteRT files, and how much they may differ.

    Args:
        model, specs: The Keras model and its inputs.
        calibration: `representative_data` as batches; None if there is none.
        values: "float32", "float16" or "int8".
        tolerance: The largest difference that the user allows; None for the default.
        content: The dense file of the same dtype.

    Attributes:
        dense: The difference of the dense file; None for float32.

    Raises:
        RuntimeError: The dense file itself does not compute the model.
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
            # The dense file's rounding can be a measure only if the file computes the model.
            if not self.dense <= LARGEST[values] and tolerance is None:
                raise RuntimeError(self._message(LARGEST[values], self.dense, ""))

    def check(self, content: bytes) -> float:
        """Returns the difference of a file's outputs from the model's.

        Raises:
            RuntimeError: The interpreter refuses the file, or it differs by more than is allowed.
        """
        found = difference(content, self.inputs, self.expected)
        bound = TOLERANCE if self.dense is None else SLACK * self.dense + TOLERANCE
        bound = bound if self.tolerance is None else self.tolerance
        if not (np.isfinite(found) and found <= bound):
            than = ""
            if self.dense is not None:
                than = f"; the dense file of the same dtype has {self.dense:.2g}"
            raise RuntimeError(self._message(bound, found, than))
        return found

    def _message(self, bound: float, found: float, than: str) -> str:
        return (
            f"export: expected the LiteRT file to give the outputs of {self.name!r} within "
            f"{bound:.2g} of the largest, received {found:.2g}{than}. Nothing was exported. This "
            "happens if the forward pass draws random numbers or amplifies rounding errors: pass "
            "tolerance or verify=False, and compare accuracies."
        )
