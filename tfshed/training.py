"""The public name of `tfshed.experiments`: whole runs from a recipe."""

from tfshed.experiments import Run, Settings, check, recipe, scaled

__all__ = ["Run", "Settings", "check", "recipe", "scaled"]
