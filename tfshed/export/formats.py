"""The formats in which a model can be written, by name."""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Callable
from typing import Any, TypeVar

from tfshed.core.registry import Registry

Writer = TypeVar("Writer", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True)
class ExportFormat:
    """A format: `write(model, path, **options)`, and what it says afterwards.

    Attributes:
        write: Writes a model. Its keyword arguments are the format's options.
        describe: Makes of the path what to tell the user; None: `write` returns it.
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
    """Returns a decorator that makes a function a format, for `write` and the command line.

    The function takes a model, a path, and options by name; `overwrite` is usual. Its docstring's
    first line is the command line's help. What it returns is shown to the user by `str`.

    Args:
        name: What users call the format.
        describe: A function of the path that makes what is shown instead.

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
        ValueError: The name is taken, or no text.
    """

    def enter(function: Writer) -> Writer:
        known = FORMATS.get(name) if name in FORMATS else None
        if known is not None and _origin(known.write) != _origin(function):
            raise ValueError(
                f"format: expected a name that is free, received {name!r}, which is "
                f"{'.'.join(_origin(known.write))}; choose another name"
            )
        FORMATS.register(name)(ExportFormat(function, describe))
        return function

    return enter


def write(model: Any, path: str | os.PathLike[str], format: str, **options: Any) -> Any:
    """Writes a model in the format of this name.

    Args:
        model: A Keras model without pruning wrappers.
        path: Where to; a file or a folder, as the format says.
        format: A registered name: "saved_model", "litert", "keras", "shrink", "report" or one of
            your own, see `register_format`.
        **options: The format's own, such as `overwrite=True`.

    Returns:
        What the format says of the result; `str()` of it is for the user.

    Raises:
        ValueError: There is no such format (the error lists those there are), or it has no such
            option.
    """
    found = FORMATS.get(format)
    unknown = [name for name in options if name not in found.options]
    if unknown:
        raise ValueError(
            f"export: expected options of the format {format!r} ({', '.join(found.options)}), "
            f"received {', '.join(unknown)}. Leave it out, or choose another format."
        )
    result = found.write(model, path, **options)
    return result if found.describe is None else found.describe(path)


def _origin(function: Callable[..., Any]) -> tuple[str, str]:
    return function.__module__, function.__qualname__
