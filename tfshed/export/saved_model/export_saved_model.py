"""Exports a model's forward pass as a SavedModel, which needs neither Keras nor tfshed."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any

from tfshed.export.atomic_path import replaced_folder
from tfshed.export.example_inputs import as_arrays, random_inputs
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
from tfshed.export.signature import input_specs

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

    Everything that loads a SavedModel opens it, in a process that needs neither Keras nor tfshed:
    `tf.saved_model.load`, `keras.layers.TFSMLayer`, sessions, the C API. The loaded object has
    `serve(*inputs)` with the model's own structure of inputs and outputs, and the signature
    `serving_default`, which takes and returns tensors by name. Inputs are named by the keys of a
    dictionary, or by the names given to `keras.Input`, or else `input_0`, `input_1`, ...; outputs
    by the keys of a dictionary, or else `output_0`, `output_1`, ... The batch size is open.

    When packed, the weights are in `assets/weights_<i>.tfshed`: the zeros of a pruned model are
    left out and the rest is compressed. Loading expands the weights once, with standard operations
    of TensorFlow, into ordinary variables; afterwards the model is as fast and takes as much memory
    as any other. A file that is too short or was changed raises an error at loading. A packed model
    that is loaded and saved again has a dense checkpoint. `tfshed.export.packing(path)` reports
    the sizes.

    Every bit of every weight is preserved, except that `-0.0` becomes `0.0`. On TensorFlow, on the
    same machine, the outputs of `serve` are bit-identical to those of
    `tf.function(lambda x: model(x, training=False))`. They agree up to float rounding with the
    model called eagerly, the model compiled with XLA, and the model on JAX, since convolution, bias
    and BatchNorm are fused in some of these and not in others.

    The SavedModel appears at `path` only when it is complete and verified. With `overwrite`, the
    earlier export stays until then.

    Args:
        model: A built `keras.Model`, or one of tf_keras. A subclassed model must have been called,
            or `input_signature` be given; after a call, its inputs are taken to be floats.
        path: The output folder, on a local file system. Missing parents are created.
        packed: "auto" (default) packs the weights, but writes a dense SavedModel with a warning if
            the model cannot be packed or would be larger. True packs in any case. False writes a
            checkpoint with every weight, zeros included, which OpenVINO and loading under
            `MirroredStrategy` need.
        values: How non-zeros of packed float32 kernels (two axes or more) are stored: "float32"
            (default, exact), or rounded and smaller as "bfloat16", "float16" or "int8" (with one
            scale for each channel of the last axis). With the rounded ones, "auto" packs in any
            case, and the change of the outputs is logged and stored, see `tfshed.export.packing`.
        overwrite: Whether an earlier SavedModel at `path` may be replaced (default False). Anything
            else there is an error. Other files in its folder are kept.
        verify: Whether the SavedModel is loaded and compared (default True): all weights, and the
            outputs on random inputs with batch size 2. Other open sizes are 16, or less if the
            model does not take as much.
        input_signature: A list with a `keras.InputSpec`, a `tf.TensorSpec` or a structure of these
            for each positional argument of `model.call`. Default None: the model's own inputs.
        preprocessing: A function of TensorFlow operations, a layer or a model (on JAX: of tf_keras)
            that turns raw inputs into the model's inputs, returning a list if the model has several
            arguments. It adds `serve_with_preprocessing(*raw)` and the signature
            `serving_with_preprocessing`.
        preprocessing_signature: What `preprocessing` takes, in the form of `input_signature`.

    Returns:
        `path` as a `pathlib.Path`.

    Raises:
        TypeError: `model` is not a Keras model.
        ValueError: The model is not built or has pruning wrappers, its inputs are not known, `path`
            is remote, `values` is unknown, cannot hold a weight or is not "float32" although
            nothing is packed, or `preprocessing` does not return what the model takes.
        FileExistsError: Something is at `path` that may not be replaced.
        RuntimeError: The backend is neither TensorFlow nor JAX, or the SavedModel does not give the
            model's outputs. In this case it is deleted.

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
    """Writes the model packed, or dense if it cannot be packed or is no smaller when packed."""
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
        reason = f"it takes {size:,} bytes, and would take {packed_size:,} packed"
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
    """Whether the packed model takes less than the values of a dense one alone would take.

    If so, the dense one need not be written to compare the two.
    """
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
    except DecodeError:  # the file is damaged, so every asset is treated as the user's and kept
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
            "packed weights can be stored in another dtype: pass packed=True."
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
