"""Stores chosen weights of a sparse LiteRT file in full again, as the dense file of the model does.

The converter stores weights sparse for operators that some interpreters do not run so, for instance
float16 weights of transposed convolutions, whose outputs are then infinite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from tfshed.export.litert.converter_bugs import add_buffer, drop_unused, feed
from tfshed.export.litert.flatbuffer import Use, data, element, kind, parse, unparse, uses

# What the sparse weights of float16 files are expanded for by every interpreter.
FLOAT16_OPS = ("CONV_2D", "FULLY_CONNECTED")


def ways_to_store(sparse: bytes, dense: bytes) -> Iterator[tuple[bytes, str]]:
    """Files with more and more weights stored in full, from the one that is to be tried first.

    Args:
        sparse: What the converter wrote, unmended.
        dense: The same model stored dense.

    Yields:
        A file, and the operators whose weights it stores in full for the interpreters' sake, ""
        for none. The last one is `dense`.
    """
    kinds = sorted({use.op for use in uses(parse(sparse)) if use.block})
    yield stored_in_full(sparse, dense, _is_unusual), ""
    if len(kinds) > 1:
        for name in kinds:
            yield stored_in_full(sparse, dense, partial(_is_of, name)), name
    yield dense, ", ".join(kinds)


def stored_in_full(sparse: bytes, dense: bytes, chosen: Callable[[Use], bool]) -> bytes:
    """The sparse file with the chosen weights stored in full; the dense file if they differ."""
    model, plain = parse(sparse), parse(dense)
    found, full = uses(model), uses(plain)  # in the order in which both files run
    wanted = [i for i, use in enumerate(found) if use.block and chosen(use)]
    if not wanted:
        return sparse
    if [_signature(use) for use in found] != [_signature(use) for use in full]:
        return dense
    for i in wanted:
        use = found[i]
        use.tensor.buffer = add_buffer(model, data(plain, full[i].tensor))
        use.tensor.sparsity = None
        _skip_densify(model, use)
    drop_unused(model)
    return unparse(model)


def _signature(use: Use) -> tuple[str, tuple[int, ...], str]:
    return use.op, tuple(int(n) for n in use.tensor.shape), element(use.tensor).name


def _is_of(name: str, use: Use) -> bool:
    return use.op == name or _is_unusual(use)


def _is_unusual(use: Use) -> bool:
    return bool(element(use.tensor) == "float16" and use.op not in FLOAT16_OPS)


def _skip_densify(model: Any, use: Use) -> None:
    """Has the readers of the expanded weights read the stored ones, which need no expanding now."""
    expanded = {
        int(operator.outputs[0])
        for operator in use.graph.operators
        if kind(model, operator) == "DENSIFY" and int(operator.inputs[0]) == use.stored
    }
    for operator in use.graph.operators:
        for position, index in enumerate(operator.inputs):
            if int(index) in expanded:
                feed(operator, position, use.stored)
