"""Decides how each variable is coded, and writes the files that hold the variables."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tfshed.export.saved_model.coding import encode, is_full
from tfshed.export.saved_model.decoding import AXES, Layout, describe
from tfshed.export.saved_model.replicas import has_replicas

VALUES = ("float32", "bfloat16", "float16", "int8")
# Variables with fewer elements than this are coded together, as one vector. The operations that
# read each of many biases on its own would take more bytes than the biases.
OWN_PART_FROM = 4096
# A new file is begun after so many bytes. A file is read as a whole, so this bounds the memory that
# loading takes beside the variables.
FILE_BYTES = 1 << 26
# Arrays without zeros are coded like sparse ones if they hold less than this share of all numbers.
FEW_WITHOUT_ZEROS = 0.1


@dataclasses.dataclass(frozen=True)
class Part:
    """Variables that are coded as one array.

    Attributes:
        variables: Their positions in the list that was packed. Several are joined to one vector.
        layout, row: The arguments of `decoding.decode`.
        scale: A float32 vector by which int8 values are multiplied along the last axis; None for
            other values.
    """

    variables: tuple[int, ...]
    layout: Layout
    row: tuple[int, ...]
    scale: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class File:
    """One file of parts, with its size in bytes and its fingerprint, by which it is checked."""

    path: Path
    size: int
    fingerprint: bytes
    parts: tuple[Part, ...]


def packable(variable: Any) -> bool:
    """Whether a `tf.Variable` can be packed: numbers of 1, 2, 4 or 8 bytes, on one device."""
    if has_replicas(variable) or not hasattr(variable, "handle"):
        return False
    dtype = variable.dtype
    numeric = dtype.is_floating or dtype.is_integer or dtype.is_bool
    whole = numeric and dtype.size in (1, 2, 4, 8) and "int4" not in dtype.name
    known = variable.shape.is_fully_defined() and variable.shape.rank <= AXES
    return whole and known and variable.shape.num_elements() < 2**31


def is_kernel(variable: Any) -> bool:
    """Whether a variable may be rounded: float32 with at least two axes longer than 1."""
    return variable.dtype.name == "float32" and sum(size > 1 for size in variable.shape) >= 2


def rounded(array: np.ndarray, values: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Rounds a float32 kernel to the values that are stored; returns these and the int8 scales.

    int8: the scale of an output channel (the last axis) is max|w| / 127, and each value is
    round(w / scale). bfloat16 values are returned as float32 whose lower mantissa is zero.

    >>> rounded(np.array([[2.54, 0.01], [-1.0, 0.0]], "float32"), "int8")[0]
    array([[127, 127],
           [-50,   0]], dtype=int8)

    Raises:
        ValueError: A value would become infinite, or is not finite and `values` is "int8".
    """
    import ml_dtypes

    if values == "int8":
        if not np.isfinite(array).all():
            raise ValueError("finite values for int8, received an infinite one or a NaN")
        largest = np.abs(array).max(axis=tuple(range(array.ndim - 1)), initial=0.0)
        # Some processors flush a denormal scale to 0 and others do not, so it is 0 everywhere.
        tiny = largest / np.float32(127) < np.finfo(np.float32).tiny
        scale = np.where(tiny, np.float32(0), largest / np.float32(127)).astype(np.float32)
        return np.rint(array / np.where(tiny, np.float32(np.inf), scale)).astype(np.int8), scale
    dtype = np.float16 if values == "float16" else ml_dtypes.bfloat16
    with np.errstate(over="ignore"):
        short = array.astype(dtype)
    if np.isinf(short.astype(np.float32)).sum() > np.isinf(array).sum():
        raise ValueError(f"values in the range of {values}, received one up to {array.max()}")
    return (short if values == "float16" else short.astype(np.float32)), None


def restored(array: np.ndarray, values: str, kernel: bool) -> np.ndarray:
    """The values of a variable after packing and loading, apart from `-0.0`."""
    if values == "float32" or not kernel:
        return array
    short, scale = rounded(array, values)
    return short.astype(np.float32) * (1 if scale is None else scale)


def pack(variables: list[Any], values: str, folder: Path) -> Iterator[File]:
    """Writes the files `weights_<i>.tfshed` to `folder`, and yields each when it is complete.

    Args:
        variables: Variables for which `packable` is True.
        values: The dtype in which kernels are stored, one of `VALUES`.
        folder: Where the files are written.

    Raises:
        ValueError: The dtype `values` cannot hold the numbers of a variable. The error names it.
    """
    parts: list[Part] = []
    streams: list[bytes] = []
    size = index = 0
    usual: Counter[int] = Counter()
    full = {i for i, variable in enumerate(variables) if is_full(variable.numpy())}
    sizes = [variable.shape.num_elements() for variable in variables]
    few = sum(sizes[i] for i in full) < FEW_WITHOUT_ZEROS * sum(sizes)
    for positions, array, scale, mantissa in _arrays(variables, values, full):
        # If arrays without zeros are few, they are coded like the sparse ones. Reading them takes a
        # little longer so, but preparing operations of their own would take TensorFlow even more.
        idle_steps = usual.most_common(1)[0][0] if usual and few else None
        coded = encode(array, mantissa_bytes=mantissa, idle_steps=idle_steps)
        usual.update([len(coded.steps)] if coded.gap else [])
        parts.append(Part(positions, *describe(coded, array, size), scale))
        streams += coded.streams
        size += sum(len(stream) for stream in coded.streams)
        # The offsets in a row count from the start of the file, so `size` begins at 0 again.
        if size > FILE_BYTES:
            yield _write(folder / f"weights_{index}.tfshed", streams, parts)
            parts, streams, size, index = [], [], 0, index + 1
    if parts:
        yield _write(folder / f"weights_{index}.tfshed", streams, parts)


def _arrays(variables: list[Any], values: str, last: set[int]) -> Iterator[tuple]:
    """The arrays to be coded: positions of variables, the array, scales, bytes of mantissas.

    The variables in `last` come at the end, when the usual layout of the others is known.
    """
    together: dict[str, list[int]] = {}
    for position in sorted(range(len(variables)), key=lambda i: i in last):
        variable = variables[position]
        lossy = values != "float32" and is_kernel(variable)
        if not lossy and variable.shape.num_elements() < OWN_PART_FROM:
            together.setdefault(variable.dtype.name, []).append(position)
            continue
        array, scale = variable.numpy(), None
        if lossy:
            try:
                array, scale = rounded(array, values)
            except ValueError as error:
                raise ValueError(f"export: {variable.name}: expected {error}.") from None
        yield (position,), array, scale, 1 if lossy and values == "bfloat16" else 3
    for positions in together.values():
        # Tensors that differ in the first axis only are cut from the vector by one operation, so
        # they are put side by side.
        positions.sort(key=lambda i: (variables[i].shape.rank, tuple(variables[i].shape[1:]), i))
        arrays = [variables[position].numpy() for position in positions]
        one = arrays[0] if len(arrays) == 1 else np.concatenate([a.reshape(-1) for a in arrays])
        yield tuple(positions), one, None, 3


def _write(path: Path, streams: list[bytes], parts: list[Part]) -> File:
    import tensorflow as tf

    content = b"".join(streams)
    path.write_bytes(content)
    fingerprint = tf.fingerprint(tf.constant([content])).numpy().tobytes()
    return File(path, len(content), fingerprint, tuple(parts))
