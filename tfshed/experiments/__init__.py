"""Whole runs from a recipe: train, prune, evaluate; what the scripts are thin mains over."""

from __future__ import annotations

from tfshed.experiments.recipe import recipe
from tfshed.experiments.recipe_check import check
from tfshed.experiments.run import Run
from tfshed.experiments.scaling import scaled
from tfshed.experiments.settings import Settings

__all__ = ["Run", "Settings", "check", "recipe", "scaled"]
