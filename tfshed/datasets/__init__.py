"""Image data that the scripts train on: by name, in batches, for every backend."""

from __future__ import annotations

from tfshed.datasets.augmentations import AUGMENTATIONS
from tfshed.datasets.digits import load_digits
from tfshed.datasets.image_data import HELD_OUT, ImageData
from tfshed.datasets.registry import Request, load, register

__all__ = ["AUGMENTATIONS", "HELD_OUT", "ImageData", "Request", "load", "load_digits", "register"]
