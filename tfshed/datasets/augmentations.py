"""The names of the ways in which images are changed in training, and their numbers."""

from __future__ import annotations

AUGMENTATIONS = ("none", "flip", "pad_crop_flip", "crop_flip")
# "pad_crop_flip": He et al. 2016 (arXiv 1512.03385), section 4.2. "crop_flip": Szegedy et al. 2015
# (arXiv 1409.4842), section 6, with the ranges in use since.
PAD = 4
AREA, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
ATTEMPTS = 10
