"""Converts a model to a LiteRT file with TensorFlow's converter, and checks its input."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from tfshed.attach.keras3.private import layers_in
from tfshed.core.backend import to_numpy

VALUES = ("float32", "float16", "int8")


def convert(
    model: Any,
    root: Any,
    signatures: dict[str, Any],
    specs: list[Any],
    *,
    sparse: bool,
    values: str,
    calibration: list[dict[str, np.ndarray]] | None,
) -> bytes:
    """Converts a model and returns the bytes of the LiteRT file.

    Args:
        model: The Keras model, for messages.
        root, signatures: What `serving_object` returned for it.
        specs: The inputs of the model.
        sparse: Whether the converter stores weights sparse where it can.
        values: The dtype of the weights: "float32", "float16" or "int8".
        calibration: Batches of inputs, which set the scales of int8 activations. None: there are
            none, and activations stay floats or are scaled at each call.

    Raises:
        RuntimeError: The converter cannot convert the model.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert_phase import ConverterError

    with tempfile.TemporaryDirectory() as folder:
        # The converter reads a SavedModel. If it were given the function, Keras variables would
        # become resources of the file, and the names of inputs and outputs would be lost.
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
                # The converter's calibration uses an interpreter that warns of its deprecation.
                warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter is deprecated")
                return bytes(converter.convert())
        except ConverterError as error:
            lacking = sorted(set(re.findall(r"'((?:tf|tfl|vhlo|stablehlo)\.\w+)' op", str(error))))
            reason = ", ".join(lacking) or str(error).strip().splitlines()[-1][:200]
            raise RuntimeError(
                f"export: expected a model that LiteRT has operators for, received {model.name!r}, "
                f"of which its converter says: {reason}. {advice(model, lacking, specs)}"
            ) from None


def advice(model: Any, lacking: list[str], specs: list[Any]) -> str:
    """Says what a user can do about operators that LiteRT lacks."""
    import keras

    if any("TensorList" in name for name in lacking):
        shapes = [
            f"keras.InputSpec(shape={(1, *tuple(spec.shape)[1:])}, dtype={spec.dtype.name!r})"
            for spec in keras.tree.flatten(specs)
        ]
        return (
            "A recurrent layer needs a fixed batch: pass "
            f"input_signature=[{', '.join(shapes)}], with a size for each axis."
        )
    if any(word in name for name in lacking for word in ("String", "Regex", "Ragged")):
        return (
            "LiteRT cannot split text: export the part of the model that follows "
            "TextVectorization and takes numbers, or use export.saved_model."
        )
    return "For such a model use export.saved_model."


def check_layers(model: Any, values: str) -> None:
    """Raises a ValueError for a layer that the converter would reject, or crash on.

    These are layers that compute in half precision, layers that `model.quantize` has changed, and,
    for values="int8", layers with weights that are not finite.
    """
    for layer in layers_in(model):
        policy = layer.dtype_policy
        if getattr(policy, "quantization_mode", None) is not None:
            raise ValueError(
                f"export: expected layers with float weights, received {layer.name!r}, quantized "
                f"by model.quantize({policy.quantization_mode!r}). LiteRT quantizes by itself: "
                "load the model as it was before model.quantize and pass values='int8'."
            )
        half = layer.weights and policy.compute_dtype in ("float16", "bfloat16")
        if half and not isinstance(layer, type(model)):
            raise ValueError(
                f"export: expected layers that compute in float32, received {layer.name!r}, which "
                f"computes in {policy.compute_dtype}. LiteRT has no operators for it: make the "
                "model with dtype='float32', copy the weights by set_weights, and export that; "
                "values='float16' then stores half the bytes."
            )
    for variable in model.weights if values == "int8" else ():
        if not np.isfinite(to_numpy(variable).astype("float32")).all():
            raise ValueError(
                f"export: expected finite weights for values='int8', received {variable.path!r} "
                "with a NaN or an infinite number. Find out where it arose in training."
            )


def calibration_batches(
    data: Any, specs: list[Any], names: list[str]
) -> list[dict[str, np.ndarray]]:
    """Returns `representative_data` as a list of dictionaries from names of inputs to arrays.

    Raises:
        ValueError: It is empty, or holds something other than batches of the model's inputs.
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
                    "Give inputs without labels, each with a batch axis."
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
