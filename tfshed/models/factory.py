"""`build`: a network by its name, from raw images to logits."""

from __future__ import annotations

import contextlib
import numbers
import os
import random
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from tfshed.attach.keras3.private import layers_in
from tfshed.core.arguments import check_number, check_whole
from tfshed.models.grafting import graft
from tfshed.models.preprocessing import checked, preprocess
from tfshed.models.registry import Network, find
from tfshed.models.weights import check_file, copy_imagenet, fetch_imagenet, load_file

Pair = tuple[Sequence[float], Sequence[float]]


def build(
    name: str,
    *,
    input_shape: Sequence[int],
    classes: int,
    weight_decay: float = 0.0,
    decay_on: str = "kernels",
    preprocessing: str | Pair | None = None,
    seed: int | None = None,
    weights: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Any:
    """Builds a network that takes raw images, uint8 from 0 to 255, and ends in **logits**.

    It is one flat functional model of stock Keras layers: what is saved loads without tfshed.
    Preprocessing is a part of it and computes in float32 under every dtype policy. Keras turns
    floats into uint8 at the input: do not scale images before.

    Args:
        name: one of `names()`:

            * resnet20, resnet32, resnet56, resnet110: see `tfshed.models.resnet`; options width,
              shortcut, bn_momentum, bn_epsilon;
            * vgg16_bn, vgg19_bn: for CIFAR, see `tfshed.models.vgg.vgg_bn`; options width,
              bn_momentum, bn_epsilon;
            * lenet_300_100: see `tfshed.models.lenet`;
            * resnet50, vgg16, inception_v3, efficientnet_b0, convnext_tiny, mobilenet_v3_large and
              mobilenet_v3_small of keras.applications; the last two with options alpha,
              minimalistic and dropout_rate.
        input_shape: (height, width, channels). The networks of keras.applications take 32x32 and
            more (inception_v3: 75x75) of 3 channels, or of 1 with another preprocessing than
            "imagenet"; the others any size.
        classes: number of logits.
        weight_decay: d >= 0; d * w is added to the gradient of the loss, by `L2(d / 2)`.
        decay_on: "kernels", every convolutional and dense kernel: not biases and normalisation, nor
            depthwise kernels, which have few weights each (Howard et al. 2017, section 3.2). Or
            "all", every trainable variable, as the code of Renda et al. 2020 has it.
        preprocessing: "none" (a cast), "unit" (x / 255), "standardize" (each image by itself:
            (x - mean) / max(deviation, 1 / sqrt(n)) over its n numbers), "imagenet" (what the
            network of keras.applications expects), or (means, deviations) with a number for each
            channel, in units of 0..255. None: "imagenet" for networks of keras.applications, "unit"
            for lenet_300_100, "standardize" for the others.
        seed: int >= 0, makes initial weights and dropout reproducible; the global random states
            are left as they are. None follows `keras.utils.set_random_seed`.
        weights: None, a `.weights.h5` or `.keras` file of this network (a pruned one too), or
            "imagenet": downloaded by Keras; the head stays fresh unless classes is 1000 (vgg16:
            and images are 224x224).
        **options: of the network.

    Returns:
        A functional `keras.Model`, not compiled, from (batch, height, width, channels) to
        (batch, classes). Layers have the same names in every process.

    Raises:
        ValueError: unknown name, an argument out of its range, a weights file that does not fit
            (the first weight that differs is named).
        TypeError: an option that the network does not take.
        FileNotFoundError: no such weights file.
        OSError: ImageNet's weights cannot be downloaded.

    >>> from tfshed import models
    >>> model = models.build("resnet20", input_shape=(8, 8, 1), classes=10, width=4, seed=1)
    >>> model.input.dtype, model.output_shape
    ('uint8', (None, 10))
    """
    network = find(name, options)
    shape = _shape(name, network, input_shape)
    classes = check_whole("classes", classes, 1)
    decay = check_number("weight_decay", weight_decay)
    if decay < 0:
        raise ValueError(f"expected weight_decay to be >= 0, received {weight_decay!r}")
    if decay_on not in ("kernels", "all"):
        raise ValueError(f'decay_on: expected "kernels" or "all", received {decay_on!r}')
    how = network.preprocessing if preprocessing is None else preprocessing
    how = checked(how, shape[2], network.mode, name)
    seed = None if seed is None else check_whole("seed", seed, 0)
    imagenet = isinstance(weights, str) and weights == "imagenet"
    path = None if weights is None or imagenet else check_file(weights)
    reference = fetch_imagenet(network, name, shape, classes, options) if imagenet else None
    with _seeded(seed):
        core = network.make(input_shape=shape, classes=classes, **options)
        image = keras.Input(shape, dtype="uint8", name="image")
        model = graft(core, image, preprocess(image, how), name)
    if decay:
        (_decay_all if decay_on == "all" else _decay_kernels)(model, decay)
    if reference is not None:
        copy_imagenet(reference, model)
    elif path is not None:
        load_file(model, path)
    return model


def _shape(name: str, network: Network, input_shape: Any) -> tuple[int, ...]:
    sizes: tuple[Any, ...] = tuple(input_shape) if isinstance(input_shape, Sequence) else ()
    if len(sizes) != 3 or not all(isinstance(n, numbers.Integral) and int(n) > 0 for n in sizes):
        raise ValueError(
            "input_shape: expected (height, width, channels), three whole numbers >= 1, received "
            f"{input_shape!r}. A grey image has one channel: (28, 28, 1)."
        )
    if min(sizes[:2]) < network.least:
        raise ValueError(
            f"input_shape: {name} expected at least {network.least}x{network.least} pixels, "
            f"received {sizes}. Enlarge the images or take another network."
        )
    if network.mode is not None and sizes[2] not in (1, 3):
        raise ValueError(f"input_shape: {name} expected 1 or 3 channels, received {sizes}")
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "expected keras.config.image_data_format() to be 'channels_last', received "
            f"{keras.config.image_data_format()!r}. Call "
            "keras.config.set_image_data_format('channels_last') before."
        )
    return tuple(int(n) for n in sizes)


@contextlib.contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """Where Keras draws the seeds of initialisers and dropout, from Python's generator."""
    state = random.getstate()
    if seed is not None:
        random.seed(seed)
    try:
        yield
    finally:
        if seed is not None:
            random.setstate(state)


def _decay_kernels(model: Any, rate: float) -> None:
    for layer in layers_in(model):
        if not isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
            continue
        # A convolution in groups of one channel is a depthwise one by another name.
        if getattr(layer, "groups", 1) > 1 and layer.kernel.shape[-2] == 1:
            continue
        # On the layer for its copies, on the variable for this model.
        layer.kernel_regularizer = keras.regularizers.L2(rate / 2)
        layer.kernel.regularizer = layer.kernel_regularizer


def _decay_all(model: Any, rate: float) -> None:
    for layer in model.layers:
        for variable in layer.trainable_variables:
            variable.regularizer = keras.regularizers.L2(rate / 2)
            # What a copy of the layer, and a saved model, will have.
            argument = f"{variable.name}_regularizer"
            if hasattr(layer, argument):
                setattr(layer, argument, variable.regularizer)
