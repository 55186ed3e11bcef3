"""Whole runs from a recipe: train, prune, evaluate; what the scripts are thin mains over."""

from __future__ import annotations

from tfshed.experiments.recipe import recipe
from tfshed.experiments.recipe_check import check
from tfshed.experiments.recipe_files import load_recipe
from tfshed.experiments.run import Run
from tfshed.experiments.scaling import scaled
from tfshed.experiments.settings import Settings

__all__ = ["Run", "Settings", "check", "load_recipe", "recipe", "scaled"]
