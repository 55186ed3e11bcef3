"""Decodes the bytes of an image file to an image of a given size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfshed.datasets.tf_data import augment

# The fraction of the shorter side that is usually used in evaluation: 224 of 256.
CENTRAL = 0.875


@dataclass(frozen=True)
class Decoder:
    """Decodes images (JPEG, PNG, BMP, GIF, WebP) to images of one shape.

    Attributes:
        shape: The shape (height, width, channels) of the decoded images.
        whole: What is used of an image if there is no random crop. True: the whole image, resized.
            False: the central square with 0.875 of the shorter side. This is the same as resizing
            that side to size / 0.875 and cutting out the centre, without decoding the rest.
    """

    shape: tuple[int, int, int]
    whole: bool

    def view(self, encoded: Any) -> tf.Tensor:
        """Returns the image for evaluation; uint8 of `shape`."""
        return self._cut(encoded, self._whole if self.whole else self._centre)

    def train(self, encoded: Any, augmentation: str, seed: tf.Tensor) -> tf.Tensor:
        """Returns the augmented image for training; `seed` is int64 of shape (2,)."""
        if augmentation == "crop_flip":
            image = self._cut(encoded, lambda h, w: augment.crop_window(h, w, seed))
        else:
            image = self.view(encoded)
        if augmentation == "none":
            return image
        # With the seed of the crop, the same random numbers would be used twice.
        draws = tf.random.stateless_uniform([1, 3], seed + tf.constant([1, 0], tf.int64))
        if augmentation == "pad_crop_flip":
            return augment.pad_crop_flip(image[None], draws)[0]
        return augment.flip(image[None], draws[:, 2])[0]

    def _cut(self, encoded: Any, window: Callable[[Any, Any], Any]) -> tf.Tensor:
        height, width, channels = self.shape

        def jpeg() -> tf.Tensor:
            size = tf.image.extract_jpeg_shape(encoded)
            # This decodes only the blocks inside of the window.
            return tf.io.decode_and_crop_jpeg(encoded, window(size[0], size[1]), channels=channels)

        def other() -> tf.Tensor:
            image = tf.io.decode_image(encoded, channels=channels, expand_animations=False)
            size = tf.shape(image)
            top, left, tall, wide = tf.unstack(window(size[0], size[1]), num=4)
            return image[top : top + tall, left : left + wide]

        found = tf.cond(tf.io.is_jpeg(encoded), jpeg, other)
        found.set_shape([None, None, channels])
        return tf.ensure_shape(augment.resize(found, (height, width)), self.shape)

    @staticmethod
    def _whole(height: Any, width: Any) -> tf.Tensor:
        return tf.stack([0, 0, height, width])

    @staticmethod
    def _centre(height: Any, width: Any) -> tf.Tensor:
        shorter = tf.cast(tf.minimum(height, width), tf.float32)
        side = tf.maximum(1, tf.cast(tf.round(shorter * CENTRAL), tf.int32))
        return tf.stack([(height - side) // 2, (width - side) // 2, side, side])


def readable(encoded: Any) -> tf.Tensor:
    """Decodes a whole image, a JPEG at an eighth of its size, and fails if training would fail.

    Returns:
        The number of decoded values, so that TensorFlow does not optimise the decoding away.
    """
    small = tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: tf.io.decode_jpeg(encoded, channels=3, ratio=8),
        lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
    )
    return tf.size(small)
