"""Grids: rows x columns x seeds of runs, made from one recipe and shown in one table."""

from __future__ import annotations

from tfshed.experiments.grids.grid import Grid
from tfshed.experiments.grids.run_grid import run_grid

__all__ = ["Grid", "run_grid"]
