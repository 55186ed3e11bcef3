"""What `PruningOptimizer` is given: checked, with what was expected and what came."""

from __future__ import annotations

from typing import Any

import keras

from tfshed.attach.group import PruningGroup


def checked_optimizer(given: Any) -> Any:
    """Returns the optimizer that is meant by an object, a name or a config.

    Raises:
        TypeError: it is none of these. ValueError: Keras knows no optimizer of that name.
    """
    expected = "inner_optimizer: expected a Keras optimizer or its name, received"
    if not isinstance(given, (str, dict, keras.optimizers.Optimizer)):
        raise TypeError(f"{expected} {given!r}")
    try:
        return keras.optimizers.get(given)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{expected} {given!r}") from error


def check_to_prune(prune: Any) -> None:
    """Raises unless `prune` is None, a layer, or a list of layers or of `PruningGroup`.

    Raises:
        TypeError: it is something else. ValueError: an empty list.
    """
    expected = "prune: expected a model, layers or PruningGroups to prune, received"
    if isinstance(prune, (list, tuple)):
        if not prune:
            raise ValueError(f"{expected} an empty list")
        layers = all(isinstance(x, keras.layers.Layer) for x in prune)
        if not layers and not all(isinstance(x, PruningGroup) for x in prune):
            raise TypeError(f"{expected} {prune!r}")
    elif prune is not None and not isinstance(prune, keras.layers.Layer):
        raise TypeError(f"{expected} {prune!r}")


def check_name(name: Any) -> None:
    """Raises ValueError unless `name` is None or a text that names something."""
    if name is not None and (not isinstance(name, str) or not name):
        raise ValueError(f"name: expected None or a non-empty text, received {name!r}")
