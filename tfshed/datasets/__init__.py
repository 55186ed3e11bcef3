"""Data sets that the scripts train on, as arrays for every backend."""

from __future__ import annotations

from tfshed.datasets.digits import load_digits

__all__ = ["load_digits"]
