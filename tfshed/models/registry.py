"""Which networks there are by name, what each of them can be built with, and how more are added."""

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
    """A network by name.

    Attributes:
        make: (input_shape, classes, **options) -> a functional model from float images to logits.
        options: names of what else `make` takes.
        preprocessing: the default.
        mode: what `preprocess_input` of keras.applications does; None for other networks.
        least: the smallest height and width, in pixels.
        size: height and width of the images that ImageNet's weights were trained on, in pixels.
        fixed_head: whether the shapes of its last layers depend on the size of images.
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
    """A decorator that adds a network under a name.

    `build`, recipes and the command line find it there. A file in `tfshed/models/` needs no other
    change anywhere; code outside of the package has to be imported before the name is used, which a
    recipe does that defines its network itself.

    Args:
        name: of the network.
        options, preprocessing, mode, least, size, fixed_head: see `Network`.

    Raises:
        ValueError: the name is taken, or empty.

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
    """The names that `build` knows.

    >>> from tfshed import models
    >>> "resnet20" in models.names()
    True
    """
    import_folder("tfshed.models")
    return tuple(NETWORKS)


def find(name: Any, options: dict[str, Any]) -> Network:
    """The network of that name.

    Raises:
        ValueError: unknown name; the known ones and the nearest are in the message.
        TypeError: an option it does not take.
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
