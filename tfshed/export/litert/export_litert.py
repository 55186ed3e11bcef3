"""Exports a model as a LiteRT (TensorFlow Lite) file for phones and microcontrollers.

Weights are stored sparse where this makes the file smaller or faster.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import keras

from tfshed.attach.types import Keras3Model
from tfshed.core.arguments import check_int
from tfshed.export.atomic_path import check_file, workspace
from tfshed.export.example_inputs import as_arrays, random_inputs
from tfshed.export.formats import register_format
from tfshed.export.litert import interpreter
from tfshed.export.litert.convert import VALUES, calibration_batches, check_layers, convert
from tfshed.export.litert.converter_bugs import mend_file
from tfshed.export.litert.dense_as_convolution import dense_as_convolutions
from tfshed.export.litert.flatbuffer import parse, weight_uses
from tfshed.export.litert.full_storage import ways_to_store
from tfshed.export.litert.layer_table import LiteRTReport, rows
from tfshed.export.litert.separate_parts import separate_sparse_parts
from tfshed.export.model_and_path import check_model, local_path, quiet
from tfshed.export.saved_model.replicas import one_replica
from tfshed.export.serving import serving_object
from tfshed.export.signature import fixed_batch, input_names, input_specs

logger = logging.getLogger("tfshed")


@register_format("litert")
def litert(
    model: Keras3Model,
    path: str | os.PathLike[str],
    *,
    sparse: bool = True,
    values: str = "float32",
    representative_data: Any = None,
    overwrite: bool = False,
    verify: bool = True,
    tolerance: float | None = None,
    input_signature: Any = None,
    batch_size: int | None = None,
) -> LiteRTReport:
    """Writes the model's forward pass in inference mode as a LiteRT (`.tflite`) file.

    The file has the signature `serving_default`. Its inputs and outputs have the names that
    `export.saved_model` gives them, and the batch size is open unless `batch_size` fixes it. What
    sparsity does for a layer:

    | weights | stored sparse | how the layer runs |
    |---|---|---|
    | dense layer, float32, zeros in `Block(4, 1)` | yes | in blocks: faster up to batch 8 |
    | dense layer, int8, zeros in `Block(16, 1)` | yes | in blocks: faster up to batch 4 |
    | the same with int8 activations | yes | in blocks: not faster on x86 |
    | dense layer with int8 activations, other zeros | no: interpreters refuse it | dense |
    | convolution, or any other dense layer | yes | expanded when loaded: smaller, not faster |
    | depthwise, embedding, less than 30 % zeros | no | dense |
    | float16 weights of a transposed convolution | no: the outputs would be wrong | dense |

    XNNPACK, LiteRT's engine on CPUs, can run 1x1 convolutions sparse on ARM and in browsers, but
    never on x86 with AVX. The result says for each of them whether it will, or why not.

    `values` is the dtype of weights with 1024 elements or more:

    * "float32": outputs differ from the model's by at most 1e-4 of the largest output.
    * "float16": half the bytes. The layers compute in float32.
    * "int8": a quarter of the bytes. Layers stored dense compute with int8 activations, which are
      scaled at each call. Layers stored sparse are expanded to float32, unless they are in blocks
      of 16, and take several times as long. Pass `sparse=False` if speed matters more than size.
    * "int8" with `representative_data`: activations are int8 too, with fixed scales. The inputs
      and outputs of the file stay float32.

    A dense layer over the channels of a feature map (four axes) is written as a 1x1 convolution if
    XNNPACK then runs it sparse; see `tfshed/export/litert/dense_as_convolution.py`.

    Where XNNPACK has sparse kernels, it cannot load some nets, such as those with a 1x1 convolution
    directly after a global pooling, and computes others wrong, such as those that concatenate 1x1
    convolutions. A RESHAPE is inserted in these places; see
    `tfshed/export/litert/separate_parts.py`. In four other cases the files of TensorFlow's
    converter are slow, wrong or refused by interpreters, and are repaired; see
    `tfshed/export/litert/converter_bugs.py`.

    Args:
        model: A built `keras.Model`, as for `export.saved_model`.
        path: The output file, on a local file system. Missing parents are created.
        sparse: Whether weights are stored sparse where possible (default True). If no layer would
            then run in blocks and the file would be no smaller, the dense file is written anyway.
        values: "float32" (default), "float16" or "int8".
        representative_data: An iterable of batches of inputs, each as the model takes them. It can
            be given with "int8" only.
        overwrite: Whether a file at `path` may be replaced. Default False.
        verify: Whether the file is run on random inputs, or on the first batch of
            `representative_data`, and its outputs compared with the model's. Default True.
        tolerance: How much outputs may differ, relative to the largest output. Default None: 1e-4
            for float32, otherwise 1e-4 plus twice the difference of the dense file of this dtype.
        input_signature: As for `export.saved_model`.
        batch_size: The number of examples that the file takes at once, 1 or more. LiteRT.js, the
            runtime for browsers, needs a fixed number. Default None: any number, unless
            `input_signature` fixes it.

    Returns:
        A `LiteRTReport`. Its `str()` is a table of how each layer is stored and run.

    Raises:
        TypeError: `model` is not a Keras 3 model.
        ValueError: The model is not built or has pruning wrappers, its inputs are not known, a
            layer computes in half precision or was quantized by `model.quantize`, a weight is not
            finite (int8), an option is unknown or contradicts another, or `representative_data`
            does not fit the model's inputs.
        FileExistsError: Something is at `path` that may not be replaced.
        RuntimeError: The backend is neither TensorFlow nor JAX, LiteRT lacks an operator of the
            model, or the file's outputs differ from the model's. Nothing is written then.

    Example:
        >>> import tempfile, keras, tfshed
        >>> dense = keras.layers.Dense(64, name="hidden")
        >>> net = keras.Sequential([keras.Input((64,)), dense, keras.layers.Dense(2, name="head")])
        >>> sparse = tfshed.sparsify(net, 0.9, granularity=tfshed.Block(4, 1), select="hidden")
        >>> found = tfshed.export.litert(sparse, tempfile.mkdtemp() + "/net.tflite")
        >>> [(row.name, row.runs) for row in found.rows]
        [('hidden', '1x4 blocks'), ('head', 'dense')]

    Source: LiteRT's schema (`SparsityParameters`) and its kernels `FullyConnectedSparseWeight1x4`
    and `1x16`; XNNPACK's conditions from the README of its delegate, section "Sparse inference".
    """
    _check_options(values, representative_data, tolerance, batch_size)
    check_model(model, input_signature)
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"export: expected a keras.Model of Keras 3, received {type(model).__name__} of "
            "tf_keras. Convert it with tf.lite.TFLiteConverter.from_keras_model and "
            "optimizations=[tf.lite.Optimize.EXPERIMENTAL_SPARSITY]."
        )
    check_layers(model, values)
    target = local_path(path)
    check_file(target, overwrite)
    specs = fixed_batch(input_specs(model, input_signature), batch_size)
    calibration = None
    if representative_data is not None:
        calibration = calibration_batches(representative_data, specs, input_names(specs))
    if not model.built:
        model(*as_arrays(random_inputs(specs)), training=False)
    with quiet(), one_replica(model):
        root, signatures = serving_object(model, specs)
        how: dict[str, Any] = {"values": values, "calibration": calibration}
        dense = convert(model, root, signatures, specs, sparse=False, **how)
        ways = iter([(dense, "")])
        if sparse:
            written = convert(model, root, signatures, specs, sparse=True, **how)
            ways = ways_to_store(written, dense)
    comparison = None
    if verify:
        comparison = interpreter.Comparison(model, specs, calibration, values, tolerance, dense)
    content, in_full, found = _first_correct(ways, dense, comparison)
    if in_full:
        logger.warning(
            "export: the weights of %s in %r are stored in full, since LiteRT's interpreter does "
            "not give the model's outputs if they are stored sparse.",
            in_full,
            model.name,
        )
    with workspace(target) as beside:
        new = beside / "new.tflite"
        new.write_bytes(content)
        check_file(target, overwrite)  # converting took time, in which a file may have appeared
        os.replace(new, target)
    return LiteRTReport(
        target,
        model.name,
        values,
        len(content),
        len(dense),
        rows(content, model, sparse, in_full),
        found,
        comparison.dense if comparison is not None else None,
        any(spec.shape.rank and spec.shape[0] is None for spec in keras.tree.flatten(specs)),
    )


def _first_correct(
    ways: Iterator[tuple[bytes, str]], dense: bytes, comparison: interpreter.Comparison | None
) -> tuple[bytes, str, float | None]:
    """Finds the first file that gives the model's outputs.

    Returns:
        The file, the operators whose weights it stores in full for this reason, and the largest
        difference of its outputs.

    Raises:
        RuntimeError: No file does. The error says what is wrong with the first one.
    """
    wrong: RuntimeError | None = None
    for written, in_full in ways:
        content = dense
        if written is not dense:
            content = dense_as_convolutions(mend_file(written))
            content = separate_sparse_parts(content) or dense
        stored = [use for use in weight_uses(parse(content)) if use.block]
        # If no kernel can skip zeros, sparse storage is worth it only if the file is smaller.
        faster = any(not use.unpacking for use in stored)
        if not stored or (not faster and len(content) >= len(dense)):
            content = dense
        if comparison is None:
            return content, in_full, None
        try:
            return content, in_full, comparison.check(content)
        except RuntimeError as error:
            wrong = wrong or error
    assert wrong is not None
    raise wrong


def _check_options(
    values: str, representative_data: Any, tolerance: float | None, batch_size: int | None
) -> None:
    if values not in VALUES:
        raise ValueError(f"export: expected values as one of {VALUES}, received {values!r}.")
    if representative_data is not None and values != "int8":
        raise ValueError(
            "export: expected representative_data together with values='int8', as it sets the "
            f"scales of int8 activations, received it with values={values!r}. Leave it out."
        )
    if tolerance is not None and not tolerance >= 0:
        raise ValueError(
            f"export: expected tolerance as a number of 0 or more, received {tolerance!r}. Pass "
            "verify=False to compare nothing."
        )
    if batch_size is not None:
        check_int("batch_size", batch_size, 1)
