"""How many bytes a model takes in each format, and how few it could take."""

from __future__ import annotations

import dataclasses
import math
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tfshed.core.backend import to_numpy
from tfshed.export.report.kernel_rows import KernelRow

FORMATS = {
    "float32": "weights, float32, zeros and all",
    "gzip": "the same, compressed by gzip",
    "saved_model": "SavedModel, dense",
    "packed_saved_model": "SavedModel, packed (export.saved_model)",
    "keras": ".keras, without optimizer",
    "deflated_keras": ".keras, deflated (export.keras)",
    "litert": "LiteRT, dense",
    "sparse_litert": "LiteRT, sparse (export.litert)",
    "entropy_floor": "entropy floor",
}


@dataclasses.dataclass(frozen=True)
class Size:
    """A format's size.

    Attributes:
        format: a key of `FORMATS`.
        text: what it is.
        size: bytes; None: the model cannot be written in this format here.
        share: of the float32 weights; None likewise.
        reason: why there is no size; "" else.
    """

    format: str
    text: str
    size: int | None
    share: float | None
    reason: str = ""


def sizes(model: Any, rows: Sequence[KernelRow], formats: Sequence[str]) -> list[Size]:
    """Measures formats, in the order of `FORMATS`, by writing each to a temporary folder."""
    whole = sum(4 * math.prod(v.shape) for v in model.weights)
    measured: dict[str, int | str] = {}
    wanted = [name for name in FORMATS if name in formats]
    with _progress(len(wanted)) as step, tempfile.TemporaryDirectory() as folder:
        for name in wanted:
            step(FORMATS[name])
            if name in measured:
                continue
            try:
                measured |= _measure(name, model, rows, Path(folder))
            except RuntimeError as error:
                # An operator that LiteRT does not have, or a backend that cannot write the format.
                others = {"litert", "sparse_litert"} if "litert" in name else {name}
                measured |= dict.fromkeys(others, str(error).removeprefix("export: "))
    found = []
    for name in wanted:
        got = measured[name]
        if isinstance(got, str):
            found.append(Size(name, FORMATS[name], None, None, got))
        else:
            found.append(Size(name, FORMATS[name], got, got / max(whole, 1)))
    return found


def _measure(
    name: str, model: Any, rows: Sequence[KernelRow], folder: Path
) -> dict[str, int | str]:
    # Here, as they import this package's neighbours.
    from tfshed.export.keras_file import keras as deflated
    from tfshed.export.litert.export_litert import litert
    from tfshed.export.saved_model.export_saved_model import saved_model

    path = folder / name
    if name == "float32":
        return {name: sum(len(raw) for raw in _weights(model))}
    if name == "gzip":
        stream = zlib.compressobj(6, zlib.DEFLATED, 31)
        return {name: sum(len(stream.compress(x)) for x in _weights(model)) + len(stream.flush())}
    if name == "entropy_floor":
        return {name: entropy_floor(rows, sum(math.prod(v.shape) for v in model.weights))}
    if "litert" in name:
        both = litert(model, path, verify=False)
        return {"litert": both.dense_size, "sparse_litert": both.size}
    if "saved_model" in name:
        saved_model(model, path, packed=name.startswith("packed"), verify=False)
        return {name: sum(f.stat().st_size for f in path.rglob("*") if f.is_file())}
    path = path.with_suffix(".keras")
    with _without_optimizer(model):
        if name == "keras":
            model.save(path)
        else:
            deflated(model, path, verify=False)
    return {name: path.stat().st_size}


def entropy_floor(rows: Sequence[KernelRow], weights: int) -> int:
    """Bytes of a perfect code for the places of non-zeros, and of the float32 values as they are.

    For each kernel of N weights with the density p: N x H(p) bits say where the non-zeros are,
    H(p) = -p log2 p - (1-p) log2 (1-p), and each takes 4 bytes; so does all that is in no kernel.
    Zeros in blocks or whole filters need fewer bits for their places, and exponents of values
    compress by some percent: real formats can come out below it.

    >>> row = KernelRow("k", "Dense", (8, 8), 64, 32, 0.5, None, None, 0, None, False)
    >>> entropy_floor([row], weights=72)  # 64 bits, 32 values, 8 other weights
    168
    """
    total = 4.0 * (weights - sum(row.weights for row in rows))
    for row in rows:
        p = row.nonzero / max(row.weights, 1)
        bits = -p * math.log2(p) - (1 - p) * math.log2(1 - p) if 0 < p < 1 else 0.0
        total += row.weights * bits / 8 + 4 * row.nonzero
    return math.ceil(total)


def _weights(model: Any) -> Iterator[bytes]:
    for variable in model.weights:
        yield np.ascontiguousarray(to_numpy(variable), dtype="float32").tobytes()


@contextmanager
def _without_optimizer(model: Any) -> Iterator[None]:
    """Keras saves a compiled model's optimizer too, often more than the weights."""
    optimizer, compiled = getattr(model, "optimizer", None), model.compiled
    model.optimizer, model.compiled = None, False
    try:
        yield
    finally:
        model.optimizer, model.compiled = optimizer, compiled


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str], None]]:
    """A line on a terminal that says what is being measured, and goes at the end."""
    done = 0

    def step(text: str) -> None:
        nonlocal done
        done += 1
        if sys.stderr.isatty():
            sys.stderr.write(f"\rmeasuring {done}/{total}: {text}".ljust(72))
            sys.stderr.flush()

    try:
        yield step
    finally:
        if sys.stderr.isatty():
            sys.stderr.write("\r" + " " * 72 + "\r")
