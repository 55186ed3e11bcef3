"""Images made different in training, in `keras.ops` on the device; compare `tf_data.augment`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops

from tfshed.datasets import stateless_random
from tfshed.datasets.augmentations import AREA, ATTEMPTS, PAD, RATIO


def flip(images: Any, mirrored: Any) -> Any:
    """Mirrors images left to right where `mirrored`, bools of shape (n,), is True."""
    return ops.where(ops.reshape(mirrored, (-1, 1, 1, 1)), ops.flip(images, axis=2), images)


def pad_crop(images: Any, corners: Any) -> Any:
    """Pads by 4 zeros on each side and cuts the size out again.

    Args:
        images: (n, height, width, channels).
        corners: int32 (n, 2): where the window begins, down and right, from 0 to 8.
    """
    count, height, width, channels = images.shape
    padded = ops.pad(images, [[0, 0], [PAD, PAD], [PAD, PAD], [0, 0]])
    rows = corners[:, :1] + ops.arange(height, dtype="int32")
    columns = corners[:, 1:] + ops.arange(width, dtype="int32")
    # Pixels by their number in the whole batch: one gather for all.
    tall, wide = height + 2 * PAD, width + 2 * PAD
    first = ops.reshape(ops.arange(count, dtype="int32") * (tall * wide), (-1, 1, 1))
    numbers = first + ops.expand_dims(rows * wide, 2) + ops.expand_dims(columns, 1)
    return ops.take(ops.reshape(padded, (-1, channels)), numbers, axis=0)


def crop_windows(height: int, width: int, seeds: list[tuple[int, int]]) -> np.ndarray:
    """For each seed a window of random area (0.08 to 1) and ratio (3/4 to 4/3), at a random place.

    Of the same distribution as TensorFlow's windows, but not the same windows.

    Returns:
        int32 (n, 4) of (top, left, height, width); the whole image where no try of ten fits in.
    """
    found = np.tile(np.array([0, 0, height, width], np.int32), (len(seeds), 1))
    for i, seed in enumerate(seeds):
        for area, ratio, down, right in stateless_random.uniform(seed, 4 * ATTEMPTS).reshape(-1, 4):
            area = (AREA[0] + area * (AREA[1] - AREA[0])) * height * width
            ratio = RATIO[0] + ratio * (RATIO[1] - RATIO[0])
            tall, wide = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
            if 1 <= tall <= height and 1 <= wide <= width:
                top, left = int(down * (height - tall + 1)), int(right * (width - wide + 1))
                found[i] = top, left, tall, wide
                break
    return found


def crop_resize(images: Any, windows: Any, size: tuple[int, int]) -> Any:
    """The windows of the images, resized bilinearly to `size`, corner pixels onto corner pixels.

    Args:
        images: uint8 (n, height, width, channels).
        windows: int32 (n, 4) of (top, left, height, width).
        size: height and width of the result.
    """
    windows = ops.cast(windows, "float32")
    found = _resample(ops.cast(images, "float32"), windows[:, 0], windows[:, 2], size[0], axis=1)
    found = _resample(found, windows[:, 1], windows[:, 3], size[1], axis=2)
    return to_uint8(found)


def _resample(images: Any, first: Any, length: Any, size: int, axis: int) -> Any:
    """Linear interpolation along one axis at `size` places of the stretch of each image."""
    share = ops.arange(size, dtype="float32") / max(1, size - 1) if size > 1 else 0.5 * ops.ones(1)
    place = ops.expand_dims(first, 1) + ops.expand_dims(length - 1, 1) * share
    low = ops.floor(place)
    upper = ops.minimum(low + 1, float(images.shape[axis] - 1))
    shape = [-1, 1, 1, 1]
    shape[axis] = size

    def pixels(where: Any) -> Any:
        where = ops.reshape(ops.cast(where, "int32"), shape)
        wanted = list(images.shape)
        wanted[axis] = size
        return ops.take_along_axis(images, ops.broadcast_to(where, wanted), axis=axis)

    weight = ops.reshape(place - low, shape)
    return pixels(low) * (1 - weight) + pixels(upper) * weight


def resize(images: Any, size: tuple[int, int]) -> Any:
    """Whole images, resized bilinearly; uint8 in and out. Images of that size are not touched."""
    if tuple(images.shape[1:3]) == tuple(size):
        return images
    found = ops.image.resize(
        ops.cast(images, "float32"), size, interpolation="bilinear", data_format="channels_last"
    )
    return to_uint8(found)


def to_uint8(pixels: Any) -> Any:
    """Rounded, and kept within 0 to 255: interpolation may end a hair outside."""
    return ops.cast(ops.clip(ops.round(pixels), 0, 255), "uint8")
