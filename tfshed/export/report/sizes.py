"""How many bytes a model takes in each format, and how few it could take."""

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


# Letters of a reason: what an error says beyond is for whoever exports.
LONGEST = 300


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


def sizes(model: Any, formats: Sequence[str]) -> list[Size]:
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
                measured |= _measure(name, model, Path(folder))
            except (RuntimeError, ValueError, NotImplementedError) as error:
                # An operator that LiteRT does not have, a backend that cannot write the format, or
                # a file that does not give the model's outputs.
                others = {"litert", "sparse_litert"} if "litert" in name else {name}
                measured |= dict.fromkeys(others, _one_line(error))
    found = []
    for name in wanted:
        got = measured[name]
        if isinstance(got, str):
            found.append(Size(name, FORMATS[name], None, None, got))
        else:
            found.append(Size(name, FORMATS[name], got, got / max(whole, 1)))
    return found


def _measure(name: str, model: Any, folder: Path) -> dict[str, int | str]:
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
    """Bytes below which no code comes that stores each number by itself.

    Of each array, the places of its non-zeros and their values are counted apart:

    * Slices of nothing but zeros along an axis, such as dead filters, take H(p) bits for each slice
      of that axis, p being the share of slices that are left, and
      H(p) = -p log2 p - (1-p) log2 (1-p). In what is left of N places, or of N blocks where
      non-zeros come in blocks, the places take N x H(p) bits.
    * Values are four planes of bytes: exponent; sign and upper mantissa; lower mantissa. Each plane
      takes its entropy: the exponents of weights some 3 bits of 8, the mantissa nearly all of 24.

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
    """Bits for each of these bytes."""
    counts = np.bincount(symbols)
    shares = counts[counts > 0] / max(symbols.size, 1)
    return float(-(shares * np.log2(shares)).sum()) if symbols.size else 0.0


def _binary_entropy(p: float) -> float:
    return -p * math.log2(p) - (1 - p) * math.log2(1 - p) if 0 < p < 1 else 0.0


def _one_line(error: Exception) -> str:
    """What an error says, without the traces and places in code that follow its first line."""
    text = str(error).strip().partition("\n")[0].removeprefix("export: ")
    text = re.sub(r"loc\(.*\)(: error)?:?\s*", "", text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


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
