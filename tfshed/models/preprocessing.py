"""The preprocessing of raw images, as a part of the model made of Keras' own layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfshed.core.arguments import check_number

# What `preprocess_input` of keras.applications does in each mode, as means and deviations of
# pixels from 0 to 255. In the mode "caffe", channels are in the order BGR.
MODES = {
    "caffe": ((103.939, 116.779, 123.68), (1.0, 1.0, 1.0)),
    "tf": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "torch": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}
# The means and deviations of CIFAR-10's training images, as most code for it has them. Liu et al.
# 2019 and Le & Hua 2021 take them for CIFAR-100, too.
CIFAR = ((125.307, 122.9505, 113.865), (51.5865, 50.847, 51.255))
NAMES = ("none", "unit", "standardize", "imagenet", "cifar")

Preprocessing = str | tuple[tuple[float, ...], tuple[float, ...]]


def checked(how: Any, channels: int, mode: str | None, network: str) -> Preprocessing:
    """Checks a preprocessing and returns it as `preprocess` takes it.

    "imagenet" becomes the mode of the network.

    Raises:
        ValueError: The preprocessing is unknown or does not fit the number of channels, or it is
            "imagenet" and the network has no mode.
    """
    if isinstance(how, str):
        if how not in NAMES:
            raise ValueError(
                f"preprocessing: expected one of {list(NAMES)} or a pair (means, deviations), "
                f"received {how!r}"
            )
        if how == "cifar" and channels != 3:
            raise ValueError(f"preprocessing: 'cifar' expected 3 channels, received {channels}")
        if how != "imagenet":
            return CIFAR if how == "cifar" else how
        if mode is None:
            raise ValueError(
                f"preprocessing: expected {[n for n in NAMES if n != 'imagenet']} or a pair "
                f"(means, deviations) for {network}, received 'imagenet', which is for networks of "
                f"keras.applications. ImageNet's pair is {MODES['torch']}."
            )
        if channels != 3:
            raise ValueError(
                "preprocessing: 'imagenet' (the default of this network) expected 3 channels, "
                f"received {channels}. For grey images pass preprocessing='standardize', or "
                "repeat their channel three times."
            )
        return mode
    pair = how if isinstance(how, Sequence) and len(how) == 2 else ()
    if not pair or any(isinstance(x, str) or not isinstance(x, Sequence) for x in pair):
        raise ValueError(
            f"preprocessing: expected one of {list(NAMES)} or a pair (means, deviations) of a "
            f"number for each channel, received {how!r}"
        )
    if any(len(x) != channels for x in pair):
        raise ValueError(
            f"preprocessing: expected a mean and a deviation for each of {channels} channels, "
            f"received {how!r}"
        )
    means = tuple(check_number("a mean of preprocessing", x) for x in pair[0])
    return means, tuple(
        check_number("a deviation of preprocessing", x, positive=True) for x in pair[1]
    )


def preprocess(image: Any, how: Preprocessing) -> Any:
    """Returns the preprocessed image, a float32 Keras tensor under every dtype policy.

    Args:
        image: A Keras tensor (batch, height, width, channels) of numbers from 0 to 255. All sizes
            except the batch must be known.
        how: "none" (only a cast), "unit" (x / 255), "standardize" ((x - mean) / max(deviation,
            1 / sqrt(n)) over the n numbers of each image), a key of `MODES`, or (means,
            deviations).
    """
    if how == "caffe":
        image = ops.flip(image, axis=-1)
    pair = MODES.get(how) if isinstance(how, str) else how
    scale: Any = 1 / 255 if how == "unit" else 1.0
    offset: Any = 0.0
    if pair is not None:
        scale = [1 / deviation for deviation in pair[1]]
        offset = [-mean / deviation for mean, deviation in zip(*pair)]
    x = keras.layers.Rescaling(scale, offset, dtype="float32", name="preprocessing")(image)
    if how != "standardize":
        return x
    # Unlike layers, these operations do not depend on the dtype policy: they compute in the dtype
    # of their input, float32.
    axes = (1, 2, 3)
    deviation = ops.std(x, axis=axes, keepdims=True)
    least = 1 / math.sqrt(math.prod(image.shape[1:]))
    return (x - ops.mean(x, axis=axes, keepdims=True)) / ops.maximum(deviation, least)
