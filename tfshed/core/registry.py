"""Tables of the classes and functions that can be chosen by name, one for each kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from tfshed.core.near_miss import near_miss

Item = TypeVar("Item")
Given = TypeVar("Given", bound=Any)


class Registry(Generic[Item]):
    """A table from names to classes or functions of one kind.

    `register(name)` is a decorator that adds what it decorates to the table and returns it
    unchanged. `get(name)` looks a name up. The names are in the order of registration.

    Args:
        kind: What error messages call the name. This is usually the argument or the field of a
            recipe in which a user writes it, such as "criterion".

    >>> shapes = Registry("shape")
    >>> @shapes.register("square")
    ... def square(side):
    ...     return side * side
    >>> shapes.get("square")(3), "square" in shapes, list(shapes)
    (9, True, ['square'])
    >>> shapes.get("squares")
    Traceback (most recent call last):
    ...
    ValueError: shape: expected one of 'square', received 'squares'. Did you mean 'square'?
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, Item] = {}

    def register(self, name: str) -> Callable[[Given], Given]:
        """Returns a decorator that adds a class or a function under `name`.

        If the same definition is registered again, as when a notebook's cell runs twice, the later
        one replaces the earlier one.

        Args:
            name: A non-empty text.

        Raises:
            ValueError: `name` is no text or empty, or it is the name of something else.
        """
        if not isinstance(name, str) or not name:
            raise ValueError(f"{self.kind}: expected a name (a non-empty str), received {name!r}")

        def enter(item: Given) -> Given:
            known = self._items.get(name)
            if known is not None and _origin(known) != _origin(item):
                raise ValueError(
                    f"{self.kind}: expected a name that is free, received {name!r}, which is "
                    f"{'.'.join(_origin(known))}; choose another name"
                )
            self._items[name] = item
            return item

        return enter

    def get(self, name: Any, path: str | None = None) -> Item:
        """Returns what is registered under `name`.

        Args:
            name: The name.
            path: What the error calls the name, such as "config.prune.criterion". Default None: the
                table's `kind`.

        Raises:
            ValueError: There is no such name. The error lists all names and suggests a similar one.
        """
        if isinstance(name, str) and name in self._items:
            return self._items[name]
        raise ValueError(
            f"{path or self.kind}: expected one of {', '.join(map(repr, self._items))}, received "
            f"{name!r}." + (near_miss(name, self._items) if isinstance(name, str) else "")
        )

    def name_of(self, item: Any) -> str | None:
        """Returns the first name under which `item` is registered; None if it is not."""
        return next((name for name, known in self._items.items() if known is item), None)

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"Registry({self.kind!r}: {', '.join(self._items)})"


def _origin(item: Any) -> tuple[str, str]:
    """The module in which something is defined, and its name there."""
    kind = item if hasattr(item, "__qualname__") else type(item)
    return str(kind.__module__), str(kind.__qualname__)
