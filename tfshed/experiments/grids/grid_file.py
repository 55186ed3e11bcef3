"""Grids in files."""

from __future__ import annotations

import runpy
from pathlib import Path

from tfshed.experiments.grids.grid import Grid


def load_grid(path: str) -> Grid:
    """The grid that a file's function `get_grid` returns.

    A name behind a colon is passed on to the function: "configs/grids/cifar10.py:small".

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has no function `get_grid`, or that returns something else.
    """
    file, _, argument = path.partition(":")
    if not Path(file).is_file():
        raise FileNotFoundError(f"config: expected the file of a grid, and {file} is not there")
    make = runpy.run_path(file).get("get_grid")
    if not callable(make):
        raise ValueError(f"config: expected a function get_grid in {file}, received none")
    found = make(argument) if argument else make()
    if not isinstance(found, Grid):
        raise ValueError(
            f"config: expected get_grid in {file} to return a Grid, received {type(found).__name__}"
        )
    return found
