"""Builds a network by its name, from raw images to logits."""

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
    """Builds a network that takes raw images (uint8 from 0 to 255) and returns **logits**.

    The network is one flat functional model of Keras' own layers, so a saved model loads without
    tfshed. It contains the preprocessing, which computes in float32 under every dtype policy. Do
    not scale images before: Keras converts floats to uint8 at the input.

    Args:
        name: One of `names()`:

            * resnet8, resnet14, resnet20, resnet26, resnet32, resnet38, resnet44, resnet56,
              resnet62, resnet110: see `tfshed.models.resnet`; options width, shortcut, bn_momentum,
              bn_epsilon;
            * preresnet20, preresnet29, preresnet56, preresnet110, preresnet164: see
              `tfshed.models.preresnet`; options width, bn_momentum, bn_epsilon;
            * densenet40, densenet_bc40, densenet_bc100: see `tfshed.models.densenet`; options
              growth, bn_momentum, bn_epsilon;
            * vgg16_bn, vgg19_bn: for CIFAR, see `tfshed.models.vgg.vgg_bn`; options width,
              bn_momentum, bn_epsilon;
            * lenet_300_100: see `tfshed.models.lenet`; no options;
            * thinet_vgg16_conv and others of `tfshed.models.pruned_imagenet`, which are small nets
              of papers; no options;
            * resnet50, vgg16, inception_v3, efficientnet_b0, convnext_tiny, mobilenet_v3_large and
              mobilenet_v3_small of keras.applications; the last two have the options alpha,
              minimalistic and dropout_rate.
        input_shape: The shape of images as (height, width, channels). The networks of
            keras.applications need at least 32x32 pixels (inception_v3: 75x75) and 3 channels, or 1
            channel with a preprocessing that is not "imagenet". The others take any size.
        classes: The number of logits.
        weight_decay: The decay d >= 0, by which d * w is added to the gradient of each weight w, in
            the form of a regularizer `L2(d / 2)`. Default 0.
        decay_on: Which variables decay. "kernels" (default): every convolutional and dense kernel,
            but not biases and normalisation, nor depthwise kernels, which have few weights (Howard
            et al. 2017, section 3.2). "all": every trainable variable, as in the code of Renda et
            al. 2020.
        preprocessing: "none" (only a cast to float), "unit" (x / 255), "standardize" (each image
            separately: (x - mean) / max(deviation, 1 / sqrt(n)) over its n numbers), "imagenet"
            (what the network of keras.applications expects), "cifar" (the means and deviations of
            CIFAR-10), or (means, deviations) with a number for each channel, in units of 0 to
            255. Default None: "imagenet" for networks of keras.applications, "unit" for
            lenet_300_100, "standardize" for the others.
        seed: An int >= 0 that makes initial weights and dropout reproducible; global random states
            are not changed. Default None: they depend on `keras.utils.set_random_seed`.
        weights: A `.weights.h5` or `.keras` file of this network, which may be pruned, or
            "imagenet", which Keras downloads. Of ImageNet's weights, those of the last layer are
            loaded only if classes is 1000 (for vgg16: and images are 224x224). Default None: random
            initial weights.
        **options: Options of the network.

    Returns:
        A functional `keras.Model`, not compiled, from (batch, height, width, channels) to
        (batch, classes). Its layers have the same names in every process.

    Raises:
        ValueError: The name is unknown, an argument is out of its range, or the weights file does
            not fit (the error names the first weight that differs).
        TypeError: The network does not take one of the options.
        FileNotFoundError: The weights file does not exist.
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
    # The weights are fetched before the network is built, which fails early without a network
    # connection, and leaves the random numbers of the seed to the network itself.
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
            f"received {sizes}. Enlarge the images or use another network."
        )
    if network.mode is not None and sizes[2] not in (1, 3):
        raise ValueError(f"input_shape: {name} expected 1 or 3 channels, received {sizes}")
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "expected keras.config.image_data_format() to be 'channels_last', received "
            f"{keras.config.image_data_format()!r}. Call "
            "keras.config.set_image_data_format('channels_last') first."
        )
    return tuple(int(n) for n in sizes)


@contextlib.contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """Within the block, Python's random generator, from which Keras draws seeds, has this seed."""
    state = random.getstate()
    if seed is not None:
        random.seed(seed)
    try:
        yield
    finally:
        if seed is not None:
            random.setstate(state)


def _decay_kernels(model: Any, rate: float) -> None:
    """Adds weight decay to all kernels except depthwise ones."""
    for layer in layers_in(model):
        if not isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
            continue
        # A convolution with one input channel for each group is a depthwise one.
        if getattr(layer, "groups", 1) > 1 and layer.kernel.shape[-2] == 1:
            continue
        # The variable's regularizer is used by this model, the layer's by copies of the layer.
        layer.kernel_regularizer = keras.regularizers.L2(rate / 2)
        layer.kernel.regularizer = layer.kernel_regularizer


def _decay_all(model: Any, rate: float) -> None:
    """Adds weight decay to all trainable variables."""
    for layer in model.layers:
        for variable in layer.trainable_variables:
            variable.regularizer = keras.regularizers.L2(rate / 2)
            # A copy of the layer, and a saved model, get the regularizer of the layer.
            argument = f"{variable.name}_regularizer"
            if hasattr(layer, argument):
                setattr(layer, argument, variable.regularizer)
