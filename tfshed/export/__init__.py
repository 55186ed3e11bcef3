"""Writes pruned models for use without tfshed."""

from __future__ import annotations

from tfshed.export.keras_file import keras
from tfshed.export.litert.write import LiteRTReport, litert
from tfshed.export.packing import Packing, packing
from tfshed.export.report.write import Report, report
from tfshed.export.saved_model.write import saved_model
from tfshed.export.shrink.write import ShrinkReport, Shrunk, shrink

__all__ = [
    "LiteRTReport",
    "Packing",
    "Report",
    "ShrinkReport",
    "Shrunk",
    "keras",
    "litert",
    "packing",
    "report",
    "saved_model",
    "shrink",
]
