"""Writes pruned models for use without tfshed."""

from __future__ import annotations

from tfshed.export.saved_model import saved_model

__all__ = ["saved_model"]
