"""Which networks there are by name, and what each of them can be built with."""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Callable
from typing import Any

import keras

from tfshed.models.lenet import lenet_300_100
from tfshed.models.resnet import resnet
from tfshed.models.vgg import vgg_bn


@dataclasses.dataclass(frozen=True)
class Network:
    """A network by name.

    Attributes:
        make: (input_shape, classes, **options) -> a functional model from float images to logits.
        options: names of what else `make` takes.
        preprocessing: the default.
        mode: what `preprocess_input` of keras.applications does; None for other networks.
        least: the smallest height and width.
        size: height and width of the images that ImageNet's weights were trained on.
        fixed_head: whether the shapes of its last layers depend on the size of images.
    """

    make: Callable[..., Any]
    options: tuple[str, ...] = ()
    preprocessing: str = "standardize"
    mode: str | None = None
    least: int = 1
    size: int = 224
    fixed_head: bool = False


def _application(function: str, mode: str, options: tuple[str, ...] = (), **more: Any) -> Network:
    def make(
        input_shape: tuple[int, ...],
        classes: int,
        weights: str | None = None,
        include_top: bool = True,
        **options: Any,
    ) -> Any:
        return getattr(keras.applications, function)(
            input_shape=input_shape,
            classes=classes,
            weights=weights,
            include_top=include_top,
            classifier_activation=None,
            **options,
        )

    return Network(make, options, "imagenet", mode, **{"least": 32, **more})


_BATCH_NORM = ("width", "bn_momentum", "bn_epsilon")
_MOBILE = ("alpha", "minimalistic", "dropout_rate")

NETWORKS: dict[str, Network] = {
    **{
        f"resnet{depth}": Network(functools.partial(resnet, depth), (*_BATCH_NORM, "shortcut"))
        for depth in (8, 20, 32, 56, 110)
    },
    **{
        f"vgg{depth}_bn": Network(functools.partial(vgg_bn, depth), _BATCH_NORM)
        for depth in (16, 19)
    },
    "lenet_300_100": Network(lenet_300_100, preprocessing="unit"),
    "resnet50": _application("ResNet50", "caffe"),
    "vgg16": _application("VGG16", "caffe", fixed_head=True),
    "inception_v3": _application("InceptionV3", "tf", least=75, size=299),
    "efficientnet_b0": _application("EfficientNetB0", "torch"),
    "mobilenet_v3_large": _application("MobileNetV3Large", "tf", _MOBILE),
    "mobilenet_v3_small": _application("MobileNetV3Small", "tf", _MOBILE),
    "convnext_tiny": _application("ConvNeXtTiny", "torch"),
}


def names() -> tuple[str, ...]:
    """The names that `build` knows.

    >>> from tfshed import models
    >>> "resnet20" in models.names()
    True
    """
    return tuple(NETWORKS)


def find(name: Any, options: dict[str, Any]) -> Network:
    """The network of that name.

    Raises:
        ValueError: unknown name; the nearest ones are in the message.
        TypeError: an option it does not take.
    """
    if name not in NETWORKS:
        near = difflib.get_close_matches(str(name), NETWORKS, n=3)
        hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
        raise ValueError(
            f"name: expected a network's name, received {name!r}. {hint}There are: "
            f"{', '.join(NETWORKS)}."
        )
    network = NETWORKS[name]
    unknown = sorted(set(options) - set(network.options))
    if unknown:
        takes = ", ".join(network.options) or "none"
        raise TypeError(f"{name}: unknown option {', '.join(unknown)}. Its options: {takes}.")
    return network
