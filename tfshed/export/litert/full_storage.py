"""Stores some weights of a sparse LiteRT file in full, as the dense file of the model does.

The converter also stores weights sparse for operators that some interpreters cannot run with sparse
weights. An example are float16 weights of transposed convolutions, whose outputs become infinite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from tfshed.export.litert.converter_bugs import add_buffer, drop_unused, feed
from tfshed.export.litert.flatbuffer import (
    WeightUse,
    data,
    element,
    kind,
    parse,
    unparse,
    weight_uses,
)

# The operators for which every interpreter expands sparse float16 weights.
FLOAT16_OPS = ("CONV_2D", "FULLY_CONNECTED")


def ways_to_store(sparse: bytes, dense: bytes) -> Iterator[tuple[bytes, str]]:
    """Yields files with more and more weights stored in full, in the order to be tried.

    Args:
        sparse: The sparse file as the converter wrote it, before it is repaired.
        dense: The same model stored dense.

    Yields:
        A file, and the names of the operators whose weights it stores in full because interpreters
        need it ("" for none). The last file is `dense`.
    """
    kinds = sorted({use.op for use in weight_uses(parse(sparse)) if use.block})
    yield stored_in_full(sparse, dense, _is_unusual), ""
    if len(kinds) > 1:
        for name in kinds:
            yield stored_in_full(sparse, dense, partial(_is_of, name)), name
    yield dense, ", ".join(kinds)


def stored_in_full(sparse: bytes, dense: bytes, chosen: Callable[[WeightUse], bool]) -> bytes:
    """Returns the sparse file with the chosen weights stored in full.

    Returns the dense file if the two files do not have the same operators.
    """
    model, plain = parse(sparse), parse(dense)
    found, full = weight_uses(model), weight_uses(plain)  # in the order in which both files run
    wanted = [i for i, use in enumerate(found) if use.block and chosen(use)]
    if not wanted:
        return sparse
    # Weights are matched by their order. If the converter has made other operators for the sparse
    # file than for the dense one, this is not possible.
    if [_signature(use) for use in found] != [_signature(use) for use in full]:
        return dense
    for i in wanted:
        use = found[i]
        use.tensor.buffer = add_buffer(model, data(plain, full[i].tensor))
        use.tensor.sparsity = None
        _skip_densify(model, use)
    drop_unused(model)
    return unparse(model)


def _signature(use: WeightUse) -> tuple[str, tuple[int, ...], str]:
    return use.op, tuple(int(n) for n in use.tensor.shape), element(use.tensor).name


def _is_of(name: str, use: WeightUse) -> bool:
    return use.op == name or _is_unusual(use)


def _is_unusual(use: WeightUse) -> bool:
    return bool(element(use.tensor) == "float16" and use.op not in FLOAT16_OPS)


def _skip_densify(model: Any, use: WeightUse) -> None:
    """Makes the operators that read the expanded weights read the stored ones directly."""
    expanded = {
        int(operator.outputs[0])
        for operator in use.graph.operators
        if kind(model, operator) == "DENSIFY" and int(operator.inputs[0]) == use.stored
    }
    for operator in use.graph.operators:
        for position, index in enumerate(operator.inputs):
            if int(index) in expanded:
                feed(operator, position, use.stored)
