"""Pruning of whole filters: by norm, by chance, by the scale of normalisation, and softly."""

from __future__ import annotations

from tfshed.experiments.structured.presets import PRESETS, preset
from tfshed.experiments.structured.prune_filters import prune_filters
from tfshed.experiments.structured.slimming import prune_by_scale, put_scale_penalty
from tfshed.experiments.structured.soft_filter_pruning import SoftFilterPruning

__all__ = [
    "PRESETS",
    "SoftFilterPruning",
    "preset",
    "prune_by_scale",
    "prune_filters",
    "put_scale_penalty",
]
