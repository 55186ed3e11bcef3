"""A SavedModel to a LiteRT file, by TensorFlow's converter."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

VALUES = ("float32", "float16", "int8")


def convert(
    model: Any,
    root: Any,
    signatures: dict[str, Any],
    *,
    sparse: bool,
    values: str,
    calibration: list[dict[str, np.ndarray]] | None,
) -> bytes:
    """Returns the file's bytes.

    Raises:
        RuntimeError: if the converter cannot take the model.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert_phase import ConverterError

    with tempfile.TemporaryDirectory() as folder:
        # Not from the function itself: its Keras variables would become resources of the file, and
        # the names of inputs and outputs would be lost.
        tf.saved_model.save(root, folder, signatures=signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=["serving_default"]
        )
        converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY] if sparse else []
        if values != "float32":
            converter.optimizations.append(tf.lite.Optimize.DEFAULT)
        if values == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if calibration is not None:
            converter.representative_dataset = lambda: iter(calibration)
        try:
            with warnings.catch_warnings():
                # Its calibration uses an interpreter that says it is deprecated.
                warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter is deprecated")
                return bytes(converter.convert())
        except ConverterError as error:
            lacking = sorted(set(re.findall(r"'((?:tf|vhlo|stablehlo)\.\w+)' op", str(error))))
            reason = ", ".join(lacking) or str(error).strip().splitlines()[0]
            raise RuntimeError(
                f"export: expected {model.name!r} to consist of what LiteRT has operators for, "
                f"received from its converter: {reason}. A recurrent layer needs a fixed batch, "
                "input_signature=[keras.InputSpec((1, ...))]; a layer that computes in half "
                "precision needs dtype='float32'; for others use export.saved_model."
            ) from None


def calibration_batches(
    data: Any, specs: list[Any], names: list[str]
) -> list[dict[str, np.ndarray]]:
    """`representative_data` as a list of dictionaries by the names of inputs.

    Raises:
        ValueError: if it is empty or holds something else than batches of the model's inputs.
    """
    import keras

    flat = keras.tree.flatten(specs)

    def batches() -> Iterator[dict[str, np.ndarray]]:
        for batch in data:
            arrays = [np.asarray(leaf) for leaf in keras.tree.flatten(batch)]
            shapes = [array.shape for array in arrays]
            fits = len(arrays) == len(flat) and all(
                spec.shape.is_compatible_with(shape) for spec, shape in zip(flat, shapes)
            )
            if not fits:
                raise ValueError(
                    "export: expected representative_data as batches of the model's inputs, "
                    f"{[tuple(spec.shape) for spec in flat]}, received one of shapes {shapes}. "
                    "Give inputs alone, without labels, each with its axis of examples."
                )
            yield {
                name: array.astype(spec.dtype.as_numpy_dtype)
                for name, array, spec in zip(names, arrays, flat)
            }

    found = list(batches())
    if not found:
        raise ValueError(
            "export: expected representative_data with at least one batch, received none. A "
            "hundred examples of the training data are enough."
        )
    return found
