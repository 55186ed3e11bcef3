"""The formats in which a model can be written, by name."""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Callable
from typing import Any, TypeVar

from tfshed.attach.types import Keras3Model
from tfshed.core.registry import Registry

Writer = TypeVar("Writer", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True)
class ExportFormat:
    """A format in which a model can be written.

    Attributes:
        write: The function `write(model, path, **options)`. Its keyword arguments are the options
            of the format.
        describe: A function of the path that returns what the user is shown afterwards. None if
            that is what `write` returns.
    """

    write: Callable[..., Any]
    describe: Callable[[Any], Any] | None

    @property
    def options(self) -> list[str]:
        """The names of the options that `write` takes."""
        return list(inspect.signature(self.write).parameters)[2:]

    @property
    def summary(self) -> str:
        """The first line of the writer's docstring."""
        return (inspect.getdoc(self.write) or "").partition("\n")[0]


FORMATS: Registry[ExportFormat] = Registry("format")


def register_format(
    name: str, describe: Callable[[Any], Any] | None = None
) -> Callable[[Writer], Writer]:
    """Returns a decorator that registers a function as an export format.

    The format can then be used by `write` and on the command line. The function takes a model, a
    path and keyword options, usually `overwrite` among them. The first line of its docstring is
    the help text of the command line. `str()` of what it returns is shown to the user.

    Args:
        name: What users call the format, such as "layer_names".
        describe: A function of the path whose result is shown to the user in place of what the
            decorated function returns. Default None.

    >>> @register_format("layer_names")
    ... def layer_names(model, path):
    ...     '''The names of the layers; PATH is a text file.'''
    ...     Path(path).write_text(" ".join(layer.name for layer in model.layers))
    ...     return f"{len(model.layers)} layers"
    >>> import keras, tempfile
    >>> from pathlib import Path
    >>> net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    >>> write(net, tempfile.mkdtemp() + "/names.txt", "layer_names")
    '1 layers'

    Raises:
        ValueError: The name is taken by another function, or is no text.
    """

    def enter(function: Writer) -> Writer:
        known = FORMATS.get(name) if name in FORMATS else None
        if known is not None and _origin(known.write) != _origin(function):
            raise ValueError(
                f"format: expected a name that is free, received {name!r}, which names "
                f"{'.'.join(_origin(known.write))}; choose another name"
            )
        FORMATS.register(name)(ExportFormat(function, describe))
        return function

    return enter


def write(model: Keras3Model, path: str | os.PathLike[str], format: str, **options: Any) -> Any:
    """Writes a model in the format of this name.

    Args:
        model: A Keras model without pruning wrappers.
        path: The output path. Whether it is a file or a folder depends on the format.
        format: A registered name: "saved_model", "litert", "keras", "shrink", "report" or one of
            your own, see `register_format`.
        **options: Options of the format, such as `overwrite=True`.

    Returns:
        A description of the result, whose form depends on the format. `str()` of it is meant for
        users.

    Raises:
        ValueError: There is no format of this name (the error lists those there are), or it does
            not have one of the options.

    >>> import keras, tempfile
    >>> net = keras.Sequential([keras.Input((64,)), keras.layers.Dense(8)])
    >>> write(net, tempfile.mkdtemp() + "/net.keras", "keras", overwrite=True).name
    'net.keras'
    """
    found = FORMATS.get(format)
    unknown = [name for name in options if name not in found.options]
    if unknown:
        raise ValueError(
            f"export: expected options of the format {format!r} ({', '.join(found.options)}), "
            f"received {', '.join(unknown)}. Leave these out, or choose another format."
        )
    result = found.write(model, path, **options)
    return result if found.describe is None else found.describe(path)


def _origin(function: Callable[..., Any]) -> tuple[str, str]:
    """Where a function was defined: the same for a function and its reloaded self."""
    return function.__module__, function.__qualname__
