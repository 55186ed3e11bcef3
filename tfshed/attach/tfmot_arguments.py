"""tfmot's way to say what is pruned together, in terms of a granularity."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfshed.core.granularity import Block, NxM


def granularity_of(granularity: Any, block_size: Any, pooling: Any, m_by_n: Any) -> Any:
    """The one granularity that `prune_low_magnitude` was given, by tfmot's arguments or ours.

    Args:
        granularity: tfshed's argument of this name, or None.
        block_size: tfmot's (input channels, output channels); (1, 1) says nothing.
        pooling: tfmot's `block_pooling_type`, "AVG" or "MAX".
        m_by_n: tfmot's `sparsity_m_by_n`, (zeros, out of), or None.

    Returns:
        A `Granularity` for tfmot's arguments, else `granularity` as it was given.

    Raises:
        ValueError: an argument is malformed, or more than one of the three is given.

    >>> granularity_of(None, (4, 1), "AVG", None), granularity_of(None, (1, 1), "AVG", (3, 4))
    (Block(a=4, b=1, pooling='AVG', pad=True), NxM(n=1, m=4))
    """
    size = tuple(block_size) if isinstance(block_size, (tuple, list, np.ndarray)) else ()
    if len(size) != 2:
        raise ValueError(f"block_size: expected (rows, columns), received {block_size!r}")
    if not isinstance(pooling, str) or pooling not in ("AVG", "MAX"):
        raise ValueError(f'block_pooling_type: expected "AVG" or "MAX", received {pooling!r}')
    given = [granularity is not None, size != (1, 1), m_by_n is not None]
    if sum(given) > 1:
        raise ValueError(
            "expected one of granularity, block_size and sparsity_m_by_n, received "
            f"granularity={granularity!r}, block_size={block_size!r}, sparsity_m_by_n={m_by_n!r}"
        )
    if m_by_n is not None:
        pair = tuple(m_by_n) if isinstance(m_by_n, (tuple, list, np.ndarray)) else ()
        if len(pair) != 2 or not all(map(_is_int, pair)) or not 0 < pair[0] < pair[1]:
            raise ValueError(
                "sparsity_m_by_n: expected (zeros, out of), two ints with 0 < zeros < out of, "
                f"received {m_by_n!r}"
            )
        return NxM(int(pair[1] - pair[0]), int(pair[1]))
    if size != (1, 1):
        rows, columns = (int(n) if _is_int(n) else n for n in size)
        return Block(rows, columns, pooling=pooling, pad=True)
    return granularity


def _is_int(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
