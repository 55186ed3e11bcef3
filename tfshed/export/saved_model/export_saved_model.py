"""SavedModel: a model's forward pass for TensorFlow without Keras and without tfshed."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any

from tfshed.export.atomic_path import replaced_folder
from tfshed.export.formats import register_format
from tfshed.export.model_and_path import check_model, local_path, quiet
from tfshed.export.saved_model.checked import (
    Served,
    bytes_in,
    count_weights,
    write_dense,
    write_packed,
)
from tfshed.export.saved_model.packing_report import WHERE, Packing, packing
from tfshed.export.saved_model.replicas import one_replica
from tfshed.export.saved_model.weight_files import VALUES
from tfshed.export.serving import serving_object
from tfshed.export.signature import as_arrays, input_specs, random_inputs

logger = logging.getLogger("tfshed")


def _described(path: Any) -> Any:
    return packing(path) if (Path(path) / WHERE).is_file() else f"dense SavedModel at {path}"


@register_format("saved_model", describe=_described)
def saved_model(
    model: Any,
    path: str | os.PathLike[str],
    *,
    packed: bool | str = "auto",
    values: str = "float32",
    overwrite: bool = False,
    verify: bool = True,
    input_signature: Any = None,
    preprocessing: Any = None,
    preprocessing_signature: Any = None,
) -> Path:
    """Writes the model's forward pass in inference mode as a TensorFlow SavedModel.

    `tf.saved_model.load` opens it in a process that has neither Keras nor tfshed, and so does
    whatever else loads a SavedModel: `keras.layers.TFSMLayer`, sessions, the C API. It has
    `serve(*inputs)` with the model's own structure of inputs and outputs, and the signature
    `serving_default` with tensors by name: a dictionary's keys or the names given to
    `keras.Input`, else `input_0`, `input_1`, ...; outputs by their keys in a dictionary, else
    `output_0`, `output_1`, ... The batch is open. Layers are exported as they are.

    Packed, weights lie in `assets/weights_<i>.tfshed`, the zeros of a pruned model left out and
    the rest compressed; whatever loads the model expands them once, by TensorFlow's standard
    operations, into ordinary variables: afterwards it is as fast and as large in memory as any
    other. Files are checked before: a short or a changed one is an error. What is loaded and
    saved again has a dense checkpoint. `tfshed.export.packing(path)` says what it came to.

    What is exact: every bit of every weight (`-0.0` becomes `0.0`). On TensorFlow, on the same
    machine, `serve` gives bit for bit the outputs of
    `tf.function(lambda x: model(x, training=False))`. Called eagerly, or compiled with XLA,
    TensorFlow rounds differently (it fuses convolution, bias and BatchNorm in one but not in the
    other): there, and on JAX, outputs agree to float rounding.

    Nothing is at `path` before all is written and verified; with `overwrite` the earlier export
    stays until then.

    Args:
        model: a built `keras.Model`, or one of tf_keras. A subclassed one must have been called,
            or `input_signature` given; after a call its inputs count as floats.
        path: folder to write, on a local file system. Missing parents are made.
        packed: "auto" (default) packs, and where a model cannot be packed or is smaller dense it
            writes that instead, and a warning says so with both sizes. True packs in any case.
            False writes a checkpoint with every weight in full, zeros and all, which some tools
            need: OpenVINO, and loading under `MirroredStrategy`.
        values: how packed float32 kernels (two axes or more) keep their non-zeros: "float32",
            exact, or, smaller and rounded, "bfloat16", "float16" or "int8" (a scale for each
            channel of the last axis); with these three "auto" packs in any case. How far
            outputs then move is logged and kept, see `tfshed.export.packing`.
        overwrite: replaces an earlier SavedModel at `path`; anything else there is an error. Files
            in its folder that are not the SavedModel's stay.
        verify: loads what was written, compares all weights and, on random inputs, batch 2, any
            other open size 16 (less, where the model takes no more), the outputs.
        input_signature: a list with one `keras.InputSpec`, `tf.TensorSpec` or structure of
            these for each positional argument of `model.call`. `None` takes the model's own.
        preprocessing: a function of TensorFlow operations, a layer or a model (on JAX: of
            tf_keras) that makes the model's inputs of raw ones, in a list if it has several
            arguments. It adds `serve_with_preprocessing(*raw)` and the signature
            `serving_with_preprocessing`.
        preprocessing_signature: what `preprocessing` takes, in the form of `input_signature`.

    Returns:
        `path` as a `pathlib.Path`.

    Raises:
        TypeError: if `model` is not a Keras model.
        ValueError: if the model is not built or has pruning wrappers, its inputs are not known,
            `path` is remote, `values` is none of the four, cannot hold a weight or is not "float32"
            where nothing is packed, or `preprocessing` does not give what the model takes.
        FileExistsError: if something is at `path` that may not be replaced.
        RuntimeError: on a backend other than TensorFlow or JAX, or if what was written does not
            give the model's outputs; then nothing is kept.

    Example:
        >>> import tempfile, keras
        >>> from tfshed import export
        >>> model = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(2)])
        >>> path = export.saved_model(model, tempfile.mkdtemp() + "/model")
        >>> import tensorflow as tf
        >>> loaded = tf.saved_model.load(path)
        >>> loaded.serve(tf.ones((3, 4))).shape
        TensorShape([3, 2])
        >>> sorted(loaded.signatures["serving_default"](x=tf.ones((3, 4))))
        ['output_0']

    Source: TensorFlow's guide "Using the SavedModel format"; keras issue 23553 on `model.export`;
    for distances, shared scales and Huffman's code, Han et al. 2016 (arXiv 1510.00149).
    """
    check_model(model, input_signature)
    _check_options(packed, values, preprocessing, preprocessing_signature)
    target = local_path(path)
    whole = replaced_folder(
        target, overwrite=overwrite, holds="saved_model.pb", is_own=_is_of_an_export
    )
    with one_replica(model), whole as new:
        specs = input_specs(model, input_signature)
        raw_specs = preprocessing_signature and input_specs(model, preprocessing_signature)
        if not model.built:
            model(*as_arrays(random_inputs(specs)), training=False)
        root, signatures = serving_object(model, specs, preprocessing, raw_specs)
        served = Served(model, root, signatures, specs, raw_specs)
        with quiet():
            if packed == "auto" and values == "float32":
                _write_smaller(served, new, verify).write(new)
            elif packed:
                write_packed(served, new, values, verify).write(new)
            else:
                write_dense(served, new, verify)
    return target


def _write_smaller(served: Served, path: Path, verify: bool) -> Packing:
    """Writes the model packed, or dense where it cannot be packed or is no larger so."""
    report, reason = None, ""
    try:
        report = write_packed(served, path, "float32", verify)
    except (RuntimeError, AttributeError, NotImplementedError) as error:
        reason = f"it cannot be packed ({error})"
    if report is not None and report.packed_bytes and _surely_smaller(report):
        return report
    dense = path.with_name("dense")
    write_dense(served, dense, verify)
    size = bytes_in(dense)
    if report is not None:
        packed_size = report.total_bytes or 0
        if packed_size < size:
            shutil.rmtree(dense)
            return dataclasses.replace(report, other_bytes=size)
        reason = f"packed it would take {packed_size:,} bytes, and takes {size:,} so"
    logger.warning("export: %r is stored dense: %s", served.model.name, reason)
    shutil.rmtree(path, ignore_errors=True)
    dense.rename(path)
    return Packing(
        "float32",
        *count_weights(served.root),
        0,
        0.0,
        0.0,
        stored="dense",
        total_bytes=size,
        other_bytes=None if report is None else report.total_bytes,
        reason=reason,
    )


def _surely_smaller(report: Packing) -> bool:
    """Whether the packed model is below what a dense one takes for its values alone."""
    return report.total_bytes is not None and report.total_bytes < report.dense_bytes


def _is_of_an_export(folder: Path, file: Path) -> bool:
    """Whether a file in a SavedModel's folder belongs to the SavedModel."""
    if file.parts[0] == "assets":
        packed = re.fullmatch(r"weights_\d+\.tfshed", file.name)
        return packed is not None or file.name in _assets(folder)
    if file.parts[0] == "variables":
        return file.name.startswith("variables.")
    return file in (Path("saved_model.pb"), Path("fingerprint.pb"), WHERE)


def _assets(folder: Path) -> set[str]:
    """The files in `assets/` that the graph of a SavedModel names."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    except DecodeError:  # damaged: then every file is taken for the user's, and stays
        return set()
    return {asset.filename for meta in saved.meta_graphs for asset in meta.asset_file_def}


def _check_options(packed: bool | str, values: str, preprocessing: Any, signature: Any) -> None:
    if not (isinstance(packed, bool) or packed == "auto"):
        raise ValueError(f"export: expected packed as 'auto', True or False, received {packed!r}.")
    if values not in VALUES:
        raise ValueError(f"export: expected values as one of {VALUES}, received {values!r}.")
    if values != "float32" and not packed:
        raise ValueError(
            f"export: expected values='float32' with packed=False, received {values!r}. Only "
            "packed weights have other values: pass packed=True."
        )
    if (preprocessing is None) != (signature is None):
        given = "preprocessing_signature" if preprocessing is None else "preprocessing"
        raise ValueError(
            "export: expected preprocessing and preprocessing_signature together, received "
            f"{given} alone. Pass both, the signature as [tf.TensorSpec((None, ...), dtype), ...]."
        )
    if preprocessing is not None and not callable(preprocessing):
        raise TypeError(
            "export: expected preprocessing as a function, a layer or a model, received "
            f"{type(preprocessing).__name__}."
        )
