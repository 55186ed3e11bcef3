"""Measures the bytes that a model takes in each format, and the least that it could take."""

from __future__ import annotations

import dataclasses
import math
import re
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tfshed.core.backend import to_numpy
from tfshed.export.saved_model.coding import blocks_of

MEASURED_FORMATS = {
    "float32": "all weights as float32, zeros included",
    "gzip": "the same, compressed by gzip",
    "saved_model": "SavedModel, dense",
    "packed_saved_model": "SavedModel, packed (export.saved_model)",
    "keras": ".keras, without optimizer",
    "deflated_keras": ".keras, deflated (export.keras)",
    "litert": "LiteRT, dense",
    "sparse_litert": "LiteRT, sparse (export.litert)",
    "entropy_floor": "entropy floor",
}


# Longer reasons are cut off after so many letters.
LONGEST = 300


@dataclasses.dataclass(frozen=True)
class Size:
    """The size of a model in one format.

    Attributes:
        format: A key of `MEASURED_FORMATS`.
        text: The format in words.
        size: The size in bytes. None if the model cannot be written in this format here.
        share: The size relative to all weights as float32; None likewise.
        reason: Why there is no size, or "".
    """

    format: str
    text: str
    size: int | None
    share: float | None
    reason: str = ""


def sizes(model: Any, formats: Sequence[str]) -> list[Size]:
    """Measures formats by writing the model to a temporary folder.

    Args:
        model: A built Keras 3 model.
        formats: Keys of `MEASURED_FORMATS`, whose order the result has.
    """
    whole = sum(4 * math.prod(v.shape) for v in model.weights)
    measured: dict[str, int | str] = {}
    wanted = [name for name in MEASURED_FORMATS if name in formats]
    with _progress(len(wanted)) as step, tempfile.TemporaryDirectory() as folder:
        for name in wanted:
            step(MEASURED_FORMATS[name])
            if name in measured:
                continue
            try:
                measured |= _measure(name, model, Path(folder))
            except (RuntimeError, ValueError, NotImplementedError) as error:
                # LiteRT lacks an operator, the backend cannot write the format, or the file does
                # not give the model's outputs. One call measures both LiteRT files.
                others = {"litert", "sparse_litert"} if "litert" in name else {name}
                measured |= dict.fromkeys(others, _one_line(error))
    found = []
    for name in wanted:
        got = measured[name]
        if isinstance(got, str):
            found.append(Size(name, MEASURED_FORMATS[name], None, None, got))
        else:
            found.append(Size(name, MEASURED_FORMATS[name], got, got / max(whole, 1)))
    return found


def _measure(name: str, model: Any, folder: Path) -> dict[str, int | str]:
    # Imported here, as a report that measures no format does not need these modules.
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
        return {name: entropy_floor(to_numpy(v) for v in model.weights)}
    if "litert" in name:
        both = litert(model, path)
        return {"litert": both.dense_size, "sparse_litert": both.size}
    if "saved_model" in name:
        saved_model(model, path, packed=name.startswith("packed"))
        return {name: sum(f.stat().st_size for f in path.rglob("*") if f.is_file())}
    path = path.with_suffix(".keras")
    with _without_optimizer(model):
        if name == "keras":
            model.save(path)
        else:
            deflated(model, path)
    return {name: path.stat().st_size}


def entropy_floor(arrays: Iterable[np.ndarray]) -> int:
    """Returns the bytes that any code needs at least if it stores each number by itself.

    For each array, the positions of its non-zeros and their values are counted separately. Let
    H(p) = -p log2 p - (1 - p) log2 (1 - p).

    * Positions: first, slices along an axis that are all zero, such as dead filters, are left out.
      This takes H(p) bits for each slice of the axis, p being the share of slices that are kept.
      Then, the positions of non-zeros among the N positions left (or among N blocks, if non-zeros
      lie in blocks) take N x H(p) bits, p being the share of non-zeros.
    * Values: each number has four bytes: the exponent, the sign with the upper mantissa, and two
      bytes of lower mantissa. The bits are the entropy of each of these over the array. For trained
      weights, that is about 3 bits of 8 for exponents, and nearly all of the 24 other bits.

    >>> kernel = np.zeros((8, 8), "float32")
    >>> kernel[::2] = 1.0  # half of the slices: 8 bits for which, no bits for values
    >>> entropy_floor([kernel])
    1
    """
    return math.ceil(sum(_places(array) + _values(array) for array in arrays) / 8)


def _places(array: np.ndarray) -> float:
    kept, bits = array != 0, 0.0
    for axis in range(kept.ndim):
        alive = kept.any(axis=tuple(i for i in range(kept.ndim) if i != axis))
        if not alive.all():
            bits += alive.size * _binary_entropy(alive.mean())
            kept = kept.compress(alive, axis=axis)
    if not kept.size:
        return bits
    mask = blocks_of(kept)[1]
    return bits + min(k.size * _binary_entropy(k.mean()) for k in (kept, mask))


def _values(array: np.ndarray) -> float:
    values = np.ascontiguousarray(array[array != 0], dtype="<f4").view("<u4")
    planes = (values >> 23 & 255, values >> 24 & 128 | values >> 16 & 127, values >> 8, values)
    return sum(values.size * _entropy(plane & 255) for plane in planes)


def _entropy(symbols: np.ndarray) -> float:
    """The entropy of these bytes, in bits for each byte."""
    counts = np.bincount(symbols)
    shares = counts[counts > 0] / max(symbols.size, 1)
    return float(-(shares * np.log2(shares)).sum()) if symbols.size else 0.0


def _binary_entropy(p: float) -> float:
    return -p * math.log2(p) - (1 - p) * math.log2(1 - p) if 0 < p < 1 else 0.0


def _one_line(error: Exception) -> str:
    """The first line of an error, without places in code, cut off after `LONGEST` letters."""
    text = str(error).strip().partition("\n")[0].removeprefix("export: ")
    text = re.sub(r"loc\(.*\)(: error)?:?\s*", "", text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _weights(model: Any) -> Iterator[bytes]:
    for variable in model.weights:
        yield np.ascontiguousarray(to_numpy(variable), dtype="float32").tobytes()


@contextmanager
def _without_optimizer(model: Any) -> Iterator[None]:
    """Within the block, `model.save` leaves out the optimizer, often larger than the weights."""
    optimizer, compiled = getattr(model, "optimizer", None), model.compiled
    model.optimizer, model.compiled = None, False
    try:
        yield
    finally:
        model.optimizer, model.compiled = optimizer, compiled


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str], None]]:
    """Shows on a terminal which format is being measured, and clears the line at the end."""
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
