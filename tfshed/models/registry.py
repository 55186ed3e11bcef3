"""The table of networks by name, with their options, to which you can add your own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from tfshed.core.import_folder import import_folder
from tfshed.core.near_miss import near_miss
from tfshed.core.registry import Registry

Maker = Callable[..., Any]
NETWORKS: Registry[Maker] = Registry("name")


@dataclasses.dataclass(frozen=True)
class Network:
    """A network and what must be known to build it.

    Attributes:
        make: A function (input_shape, classes, **options) -> a functional model from float images
            to logits.
        options: The names of the options that `make` takes.
        preprocessing: The default preprocessing of images.
        mode: The mode of its `preprocess_input` in keras.applications; None for other networks.
        least: The smallest height and width of images, in pixels.
        size: The height and width of the images that ImageNet's weights were trained with, in
            pixels.
        fixed_head: Whether the shapes of its last layers depend on the size of images.
    """

    make: Maker
    options: tuple[str, ...] = ()
    preprocessing: str = "standardize"
    mode: str | None = None
    least: int = 1
    size: int = 224
    fixed_head: bool = False


_DETAILS: dict[str, Network] = {}


def register(
    name: str,
    *,
    options: tuple[str, ...] = (),
    preprocessing: str = "standardize",
    mode: str | None = None,
    least: int = 1,
    size: int = 224,
    fixed_head: bool = False,
) -> Callable[[Maker], Maker]:
    """Returns a decorator that registers a network under a name.

    The name can then be used in `build`, in recipes and on the command line. A new file in
    `tfshed/models/` is found by itself. Code outside of the package must be imported before the
    name is used; a recipe can define its network itself.

    Args:
        name: The name of the network.
        options: The names of the options that its function takes. Default: none.
        preprocessing: The default preprocessing. Default "standardize".
        mode, least, size, fixed_head: See `Network`.

    Raises:
        ValueError: The name is empty, or taken by another function.

    >>> import keras
    >>> from tfshed import models
    >>> @models.register("linear", options=("use_bias",))
    ... def linear(input_shape, classes, use_bias=True):
    ...     image = keras.Input(input_shape)
    ...     x = keras.layers.Flatten()(image)
    ...     return keras.Model(image, keras.layers.Dense(classes, use_bias=use_bias)(x))
    >>> models.build("linear", input_shape=(4, 4, 1), classes=3, use_bias=False).count_params()
    48
    """

    def enter(make: Maker) -> Maker:
        NETWORKS.register(name)(make)
        _DETAILS[name] = Network(make, options, preprocessing, mode, least, size, fixed_head)
        return make

    return enter


def names() -> tuple[str, ...]:
    """Returns the names that `build` knows.

    >>> from tfshed import models
    >>> "resnet20" in models.names()
    True
    """
    import_folder("tfshed.models")
    return tuple(NETWORKS)


def find(name: Any, options: dict[str, Any]) -> Network:
    """Returns the network of this name, after checking its options.

    Raises:
        ValueError: The name is unknown. The error lists all names and suggests a similar one.
        TypeError: The network does not take one of the options.
    """
    import_folder("tfshed.models")
    NETWORKS.get(name)
    network = _DETAILS[name]
    unknown = sorted(set(options) - set(network.options))
    if unknown:
        takes = ", ".join(network.options) or "none"
        hint = near_miss(unknown[0], network.options)
        raise TypeError(f"{name}: unknown option {', '.join(unknown)}. Its options: {takes}.{hint}")
    return network
