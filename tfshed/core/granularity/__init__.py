"""What is kept or pruned as a whole: single weights, blocks, filters, or so many of every group.

A granularity divides a kernel into elements, says how large each is, and which of them go. Those
that rank a scope (`Unstructured`, `Block`, `Filter`) prune its smallest elements wherever they are;
those that derive from `Grouped` (`NxM`, `Balanced`) prune the smallest of every group.
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
    """Returns the granularity that is meant by None, a text or an object.

    Args:
        granularity: None is `Unstructured()`. A text is a registered name, with whole numbers after
            it where it takes some: "unstructured", "filter", "block4x1", "nxm2:4", "balanced16".
            Without a name numbers with an x are a block, "4x1", and with a colon N:M, "2:4". A
            `Granularity` is returned as it is.
        path: What the error calls it.

    Raises:
        ValueError: It is nothing of this, an unknown name, or numbers that do not fit.

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
