"""Grids in files."""

from __future__ import annotations

from tfshed.experiments.grids.grid import Grid
from tfshed.experiments.recipe_files import call


def load_grid(given: str) -> Grid:
    """Returns a grid by its name or file, with an arm after a colon if it has several.

    Args:
        given: Such as "digits", "cifar10_resnet8:whole" or "my_grids/mine.py". A file has a
            function `get_grid`, which takes the name of an arm if there are several.

    Raises:
        FileNotFoundError: There is no such grid. The error suggests the most similar name.
        ValueError: The file has no function `get_grid`, or that returns something else.
    """
    found = call(given, "grid", "get_grid")
    if not isinstance(found, Grid):
        raise ValueError(
            f"config: expected get_grid in {given} to return a Grid, received "
            f"{type(found).__name__}"
        )
    return found
