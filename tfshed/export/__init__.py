"""Writes pruned models for use without tfshed."""

from __future__ import annotations

from tfshed.export.formats import FORMATS, register_format, write
from tfshed.export.keras_file import keras
from tfshed.export.litert.export_litert import LiteRTReport, litert
from tfshed.export.report.build_report import Report, report
from tfshed.export.saved_model.export_saved_model import saved_model
from tfshed.export.saved_model.packing_report import Packing, packing
from tfshed.export.shrink.shrink_model import ShrinkReport, Shrunk, shrink

__all__ = [
    "FORMATS",
    "LiteRTReport",
    "Packing",
    "Report",
    "ShrinkReport",
    "Shrunk",
    "keras",
    "litert",
    "packing",
    "register_format",
    "report",
    "saved_model",
    "shrink",
    "write",
]
