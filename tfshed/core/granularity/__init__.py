"""Granularities: what is kept or pruned as a whole (weights, blocks, filters, or by groups).

A granularity divides a kernel into elements, computes the magnitude of each, and decides which are
pruned. `Unstructured`, `Block` and `Filter` rank all elements of a scope and prune the smallest.
`NxM` and `Balanced`, which derive from `Grouped`, prune a fixed number of elements in every group.
"""

from __future__ import annotations

import re
from typing import Any

from tfshed.core.granularity.base import GRANULARITIES, Axes, Granularity, Ranking, register
from tfshed.core.granularity.block import Block
from tfshed.core.granularity.filter import Filter
from tfshed.core.granularity.grouped import Balanced, Grouped, NxM
from tfshed.core.granularity.unstructured import Unstructured

__all__ = [
    "GRANULARITIES",
    "Axes",
    "Balanced",
    "Block",
    "Filter",
    "Granularity",
    "Grouped",
    "NxM",
    "Ranking",
    "Unstructured",
    "get",
    "register",
]

_TEXT = re.compile(r"([A-Za-z_]+)?(\d+(?:([x:])\d+)*)?")


def get(granularity: Granularity | str | None, path: str = "granularity") -> Granularity:
    """Returns the granularity described by None, a text or an object.

    Args:
        granularity: None means `Unstructured()`. A text is a registered name, followed by whole
            numbers if the granularity takes any: "unstructured", "filter", "block4x1", "nxm2:4",
            "balanced16". Numbers alone mean a block if they are joined by an x ("4x1"), and N:M
            sparsity if they are joined by a colon ("2:4"). A `Granularity` is returned unchanged.
        path: What the error calls the argument. Default "granularity".

    Raises:
        ValueError: `granularity` is none of these, the name is unknown, or the numbers do not fit.

    >>> get("4x1"), get("2:4"), get("balanced16")
    (Block(a=4, b=1, pooling='L2', pad=False), NxM(n=2, m=4), Balanced(bank=16))
    """
    if granularity is None:
        return GRANULARITIES.get("unstructured")()
    if isinstance(granularity, Granularity):
        return granularity
    expected = (
        f"{path}: expected None, a tfshed.granularity.Granularity, or a text such as "
        '"unstructured", "4x1" (input x output channels of a block), "2:4" (kept of every), '
        f'"filter" or "balanced16", received {granularity!r}'
    )
    found = _TEXT.fullmatch(granularity) if isinstance(granularity, str) else None
    if found is None or not granularity:
        raise ValueError(expected)
    name, numbers, sign = found.groups()
    if name is None:
        if sign is None:
            raise ValueError(expected)
        name = "block" if sign == "x" else "nxm"
    kind: Any = GRANULARITIES.get(name, path)
    try:
        made: Granularity = kind(*(int(n) for n in re.split("[x:]", numbers or "") if n))
    except TypeError as error:
        raise ValueError(f"{expected}: {error}") from None
    return made
