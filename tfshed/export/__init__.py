"""Writes pruned models for use without tfshed."""

from __future__ import annotations

from tfshed.export.saved_model import saved_model
from tfshed.export.shrink import ShrinkReport, Shrunk, shrink

__all__ = ["ShrinkReport", "Shrunk", "saved_model", "shrink"]
