"""Whole runs from a recipe: train, prune, evaluate; what the scripts are thin mains over."""

from __future__ import annotations

from tfshed.experiments.recipe import check, recipe, scaled
from tfshed.experiments.run import Run, Settings

__all__ = ["Run", "Settings", "check", "recipe", "scaled"]
