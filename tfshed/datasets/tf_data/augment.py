"""Augmentation of images. Each function depends only on its images and random numbers."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfshed.datasets.augmentations import AREA, ATTEMPTS, PAD, RATIO


def flip(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Mirrors images left to right if their random number is below one half.

    Args:
        images: A tensor (n, height, width, channels).
        draws: Random floats in [0, 1), of shape (n,).

    >>> import tensorflow as tf
    >>> flip(tf.constant([[[[1], [2]]], [[[1], [2]]]]), tf.constant([0.2, 0.7])).numpy()[..., 0]
    array([[[2, 1]], [[1, 2]]], dtype=int32)
    """
    count = tf.shape(images)[0]
    # Whole images are gathered, as tf.where() over pixels would take several times as long.
    both = tf.concat([tf.reverse(images, [2]), images], 0)
    return tf.gather(both, tf.range(count) + tf.where(draws < 0.5, 0, count))


def pad_crop_flip(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Pads images by 4 zeros on each side, cuts them out at a random position, and flips them.

    Args:
        images: A tensor (n, height, width, channels).
        draws: Random floats in [0, 1), of shape (n, 3), for the vertical and horizontal position
            and for the flip, which happens below one half.
    """
    height, width, channels = images.shape[1:]
    padded = tf.pad(images, [[0, 0], [PAD, PAD], [PAD, PAD], [0, 0]])
    corner = tf.cast(draws[:, :2] * (2 * PAD + 1), tf.int32)
    rows = corner[:, :1] + tf.range(height)
    columns = corner[:, 1:] + tf.range(width)
    columns = tf.where(draws[:, 2:] < 0.5, columns[:, ::-1], columns)
    # Pixels are addressed by one number, so that one gather does all three changes.
    wide = width + 2 * PAD
    pixels = tf.reshape(padded, [-1, (height + 2 * PAD) * wide, channels])
    return tf.gather(pixels, rows[:, :, None] * wide + columns[:, None], axis=1, batch_dims=1)


def crop_window(height: Any, width: Any, seed: tf.Tensor) -> tf.Tensor:
    """Returns a random window of an image, with 0.08 to 1 of its area and a ratio of 3/4 to 4/3.

    Args:
        height, width: The size of the image in pixels.
        seed: int64 of shape (2,).

    Returns:
        An int32 tensor (top, left, height, width). It is the whole image if none of ten random
        windows fits into it.
    """
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.stack([height, width, 1]),
        tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
        seed,
        min_object_covered=0.0,
        aspect_ratio_range=RATIO,
        area_range=AREA,
        max_attempts=ATTEMPTS,
    )
    return tf.concat([begin[:2], size[:2]], 0)


def crop_resize(images: tf.Tensor, seeds: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Returns a random window (see `crop_window`) of each image, resized bilinearly to `size`.

    Args:
        images: uint8 of shape (n, height, width, channels).
        seeds: int64 of shape (n, 2).
        size: The height and width of the result in pixels.
    """
    height, width = images.shape[1], images.shape[2]
    windows = tf.map_fn(
        lambda seed: crop_window(height, width, seed), seeds, fn_output_signature=tf.int32
    )
    top, left, tall, wide = tf.unstack(tf.cast(windows, tf.float32), axis=1)
    # crop_and_resize takes corners as the centres of pixels, where 1 is the last pixel.
    down, right = max(1, height - 1), max(1, width - 1)
    boxes = tf.stack(
        [top / down, left / right, (top + tall - 1) / down, (left + wide - 1) / right], axis=1
    )
    found = tf.image.crop_and_resize(images, boxes, tf.range(tf.shape(images)[0]), size)
    return to_uint8(found)


def resize(images: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Resizes uint8 images bilinearly. Images that have this size already are not changed."""
    if tuple(images.shape[-3:-1]) == tuple(size):
        return images
    return to_uint8(tf.image.resize(images, size))


def to_uint8(pixels: tf.Tensor) -> tf.Tensor:
    """Rounds to uint8. Interpolation may exceed 0 to 255 slightly, so values are clipped."""
    return tf.saturate_cast(tf.round(pixels), tf.uint8)
