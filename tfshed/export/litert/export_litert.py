"""LiteRT (TensorFlow Lite): a file for phones and microcontrollers, sparse where that helps."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import keras

from tfshed.export.atomic_path import check_file, workspace
from tfshed.export.formats import register_format
from tfshed.export.litert import interpreter
from tfshed.export.litert.convert import VALUES, calibration_batches, check_layers, convert
from tfshed.export.litert.converter_bugs import mend_file
from tfshed.export.litert.flatbuffer import parse, uses
from tfshed.export.litert.full_storage import ways_to_store
from tfshed.export.litert.layer_table import LiteRTReport, rows
from tfshed.export.litert.pooled_convolutions import end_sparse_part_at_pooling
from tfshed.export.model_and_path import check_model, local_path, quiet
from tfshed.export.saved_model.replicas import one_replica
from tfshed.export.serving import serving_object
from tfshed.export.signature import as_arrays, input_names, input_specs, random_inputs

logger = logging.getLogger("tfshed")


@register_format("litert")
def litert(
    model: Any,
    path: str | os.PathLike[str],
    *,
    sparse: bool = True,
    values: str = "float32",
    representative_data: Any = None,
    overwrite: bool = False,
    verify: bool = True,
    tolerance: float | None = None,
    input_signature: Any = None,
) -> LiteRTReport:
    """Writes the model's forward pass in inference mode as a LiteRT (`.tflite`) file.

    The file has the signature `serving_default` with inputs and outputs by the names that
    `export.saved_model` gives them; the batch is open. What sparsity does for a layer:

    | weights | stored sparse | runs |
    |---|---|---|
    | dense layer, float32, zeros in `Block(4, 1)` | yes | in blocks: faster up to batch 8 |
    | dense layer, int8, zeros in `Block(16, 1)` | yes | in blocks: faster up to batch 4 |
    | the same, full int8 | yes | in blocks: not faster on x86 |
    | dense layer, full int8, other zeros | no: interpreters refuse it | dense |
    | convolution; dense layer otherwise | yes | expanded when loaded: smaller, not faster |
    | depthwise, embedding, less than 30 % zeros | no | dense |
    | where it would run wrong (float16 behind transposed convolutions) | no | dense |

    XNNPACK, LiteRT's engine on CPUs, can run 1x1 convolutions sparse under conditions that
    `export.report` checks; never on x86 with AVX.

    `values` are those of weights with 1024 elements or more:

    * "float32": outputs are the model's within 1e-4 of the largest.
    * "float16": half the bytes; computed in float32.
    * "int8": a quarter. Layers that are stored dense compute with int8 activations, scaled at each
      call; those stored sparse are expanded to float32 (in blocks of 16: not), which takes several
      times as long: `sparse=False` where speed matters more than bytes.
    * "int8" with `representative_data`: activations are int8 with fixed scales too; inputs and
      outputs of the file stay float32.

    A 1x1 convolution right behind a global pooling would keep XNNPACK from loading the file where
    it has sparse kernels: there is a RESHAPE between the two.

    What TensorFlow's converter writes for sparse weights next to dense or quantised ones is in four
    cases slow, wrong or refused by interpreters; this is put right in the file.

    Args:
        model: a built `keras.Model`, as for `export.saved_model`.
        path: file to write, on a local file system. Missing parents are made.
        sparse: stores weights sparse where it can be done (default), unless nothing then runs in
            blocks and the file is no smaller; False: all of them dense.
        values: "float32" (default), "float16" or "int8".
        representative_data: iterable of batches of inputs, each as the model takes them; only
            with "int8".
        overwrite: replaces a file at `path`.
        verify: runs the file on random inputs or on the first batch of `representative_data`, and
            compares its outputs with the model's.
        tolerance: what outputs may differ by, relative to the largest. Default: 1e-4 for float32;
            otherwise 1e-4 and twice the difference of the dense file with the same values.
        input_signature: as for `export.saved_model`.

    Returns:
        A `LiteRTReport`; its `str()` is a table of how each layer is stored and run.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if the model is not built or has pruning wrappers, its inputs are not known, a
            layer computes in half precision or was quantized by `model.quantize`, a weight is not
            finite (int8), an option is unknown or does not go with the others, or
            `representative_data` is not the model's.
        FileExistsError: if something is at `path` that may not be replaced.
        RuntimeError: on a backend other than TensorFlow or JAX, if LiteRT lacks an operator of the
            model, or if the file's outputs are not the model's; then nothing is kept.

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
    _check_options(values, representative_data, tolerance)
    check_model(model, input_signature)
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"export: expected a keras.Model of Keras 3, received {type(model).__name__} of "
            "tf_keras. tf.lite.TFLiteConverter.from_keras_model takes it, with "
            "optimizations=[tf.lite.Optimize.EXPERIMENTAL_SPARSITY]."
        )
    check_layers(model, values)
    target = local_path(path)
    check_file(target, overwrite)
    specs = input_specs(model, input_signature)
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
    content, in_full, found = _first_right(ways, dense, comparison)
    if in_full:
        logger.warning(
            "export: the weights of %s in %r are stored in full: stored sparse, LiteRT's "
            "interpreter does not give the model's outputs.",
            in_full,
            model.name,
        )
    with workspace(target) as beside:
        new = beside / "new.tflite"
        new.write_bytes(content)
        check_file(target, overwrite)  # again, since converting took time
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
    )


def _first_right(
    ways: Iterator[tuple[bytes, str]], dense: bytes, comparison: interpreter.Comparison | None
) -> tuple[bytes, str, float | None]:
    """The first file that gives the model's outputs, what is stored in full in it, and how far off
    its outputs are.

    Raises:
        RuntimeError: None does; what is wrong with the first one.
    """
    wrong: RuntimeError | None = None
    for written, in_full in ways:
        content = dense
        if written is not dense:
            content = end_sparse_part_at_pooling(mend_file(written))
        stored = [use for use in uses(parse(content)) if use.block]
        # Where no kernel skips zeros, sparse storage is for its bytes only.
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


def _check_options(values: str, representative_data: Any, tolerance: float | None) -> None:
    if values not in VALUES:
        raise ValueError(f"export: expected values as one of {VALUES}, received {values!r}.")
    if representative_data is not None and values != "int8":
        raise ValueError(
            "export: expected representative_data with values='int8' only, whose activations it "
            f"is for, received it with values={values!r}. Leave it out."
        )
    if tolerance is not None and not tolerance >= 0:
        raise ValueError(
            f"export: expected tolerance as a number from 0 on, received {tolerance!r}. Pass "
            "verify=False to compare nothing."
        )
