"""The public name of `tfshed.core.granularity`: what is kept or pruned as a whole."""

from tfshed.core.granularity import (
    GRANULARITIES,
    Axes,
    Balanced,
    Block,
    Filter,
    Granularity,
    Grouped,
    NxM,
    Ranking,
    Unstructured,
    get,
    register,
)

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
