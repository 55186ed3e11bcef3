"""Builds a report on a sparse model: its bytes in each format, and its speed in each runtime."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfshed.attach.keras3.declarations import check_stripped
from tfshed.core.backend import to_numpy
from tfshed.export.formats import register_format
from tfshed.export.report import kernel_rows
from tfshed.export.report.model_report import Report
from tfshed.export.report.runtimes import behind_pooling, verdicts, xnnpack_conditions
from tfshed.export.report.sizes import MEASURED_FORMATS, sizes
from tfshed.observe.replace_file import replace_file

__all__ = ["Report", "report"]


def report(
    model: keras.Model,
    *,
    path: str | os.PathLike[str] | None = None,
    formats: Sequence[str] | None = None,
) -> Report:
    """Reports what sparsity gains: the bytes of each format, and the speed in each runtime.

    The number of operations (FLOPs) is 2 x the number of multiplications on one example. It counts
    dense and convolutional layers (`Dense`, `EinsumDense`, convolutions of all kinds) in the
    model's own graph. Biases, normalisation and activations are not counted; recurrent, attention
    and subclassed layers are listed as not counted.

    Sizes are measured by writing the model to a temporary folder and verifying it there, which
    takes as long as the exports themselves. `formats` chooses among:

    * "float32", "gzip": all weights with 4 bytes each, and the same compressed by gzip.
    * "saved_model", "packed_saved_model": `export.saved_model` without and with packing.
    * "keras", "deflated_keras": Keras' file without the optimizer, and `export.keras`.
    * "litert", "sparse_litert": `export.litert` without and with sparse storage.
    * "entropy_floor": the least that a file can take that stores each number by itself: the bits
      for the positions of the non-zeros, and the entropy of their exponents and mantissas. The
      distance from it shows how much better storage could be.

    A format that cannot hold the model, or cannot be written on this backend, is reported with the
    reason.

    Args:
        model: A built `keras.Model` without pruning wrappers. It is not changed.
        path: A folder for report.txt, report.json and report.html, or one file with the suffix
            .txt, .json or .html. Missing parents are created and earlier reports replaced. Default
            None: nothing is written.
        formats: The formats to measure. Default None: all. With `()` none is, which is fast.

    Returns:
        A `Report` with `.text`, `.to_json()`, `.html()` and all numbers.

    Raises:
        TypeError: `model` is no Keras 3 model.
        ValueError: The model is not built or has pruning wrappers, a format is unknown, or `path`
            is a file of another kind.

    >>> import keras, tfshed
    >>> dense = keras.layers.Dense(64, name="hidden")
    >>> net = tfshed.sparsify(keras.Sequential([keras.Input((16,)), dense], name="net"), 0.75)
    >>> found = tfshed.export.report(net, formats=["float32"])
    >>> print("\\n".join(found.text.splitlines()[:4]))
    Report on net
    parameters: 1,088, 256 of them not zero
    sparsity of the kernels: 75.00%
    FLOPs (2 x multiplications, one example): 2,048 dense, 512 without zeros (0.250)
    >>> [(size.format, size.size) for size in found.sizes]
    [('float32', 4352)]

    Source: entropy of positions as in Han et al. 2016 (arXiv 1510.00149); XNNPACK's conditions from
    the README of LiteRT's delegate, section "Sparse inference".
    """
    _check(model)
    chosen = list(MEASURED_FORMATS) if formats is None else list(formats)
    unknown = [name for name in chosen if name not in MEASURED_FORMATS]
    if isinstance(formats, str) or unknown:
        raise ValueError(
            f"report: expected formats as a list of some of {list(MEASURED_FORMATS)}, received "
            f"{formats!r}. Leave it out to measure all."
        )
    files = {} if path is None else _files(Path(path))
    found = kernel_rows.rows(model)
    conditions, behind = xnnpack_conditions(model, found), behind_pooling(model)
    rows = [
        dataclasses.replace(row, runtimes=verdicts(row, layer, conditions, behind))
        for row, layer in found
    ]
    result = Report(
        model.name,
        model.count_params(),
        sum(int(np.count_nonzero(to_numpy(v) != 0)) for v in model.weights),
        rows,
        sum(row.flops or 0 for row in rows),
        sum(row.sparse_flops or 0 for row in rows),
        sizes(model, chosen),
        conditions,
    )
    # All texts are made before the first is written.
    texts = {file: _text(result, kind) for file, kind in files.items()}
    for file, text in texts.items():
        _write(file, text)
    return result


@register_format("report")
def write_report(model: Any, path: str | os.PathLike[str]) -> Report:
    """Reports what sparsity gains, by layer, format and runtime; PATH is a folder or a file."""
    return report(model, path=path)


def _text(result: Report, kind: str) -> str:
    makers = {".txt": lambda: f"{result}\n", ".json": result.to_json, ".html": result.html}
    return makers[kind]()


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_file(file, lambda new: _write_text(new, text))


def _write_text(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


def _files(path: Path) -> dict[Path, str]:
    """The files to write, each with its suffix."""
    kinds = (".txt", ".json", ".html")
    if path.suffix in kinds and not path.is_dir():
        return {path: path.suffix}
    if path.is_file() or (path.suffix and not path.is_dir()):
        raise ValueError(
            f"report: expected path as a folder or a file ending in one of {kinds}, received "
            f"{str(path)!r}"
        )
    return {path / f"report{kind}": kind for kind in kinds}


def _check(model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"report: expected a keras.Model of Keras 3, received {type(model).__name__}. Wrap a "
            "layer in keras.Sequential([keras.Input(shape), layer])."
        )
    if not model.built:
        raise ValueError(
            f"report: expected a built model, received {model.name!r} without weights. Call it on "
            "a batch or give it a keras.Input first."
        )
    check_stripped(model, "report")
