"""A table whose keys are objects, by identity, that it does not keep alive."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class WeakTable(Generic[Value]):
    """Values by object. An entry goes when its object does.

    `weakref.WeakKeyDictionary` compares its keys, and Keras variables compare element by element
    and have no hash on every backend. This table goes by identity alone. A value must not hold its
    own key, or the key would never go.

    >>> class Layer:
    ...     pass
    >>> table, layer = WeakTable(), Layer()
    >>> table[layer] = "declared"
    >>> layer in table, table.get(layer), len(table)
    (True, 'declared', 1)
    >>> del layer
    >>> len(table)
    0
    """

    def __init__(self) -> None:
        self._entries: dict[int, tuple[Any, Value]] = {}

    def __setitem__(self, key: Any, value: Value) -> None:
        number, entries = id(key), self._entries

        def gone(reference: Any) -> None:
            # The number may belong to another object by now.
            if number in entries and entries[number][0] is reference:
                del entries[number]

        self._entries[number] = (weakref.ref(key, gone), value)

    def get(self, key: Any) -> Value | None:
        reference, value = self._entries.get(id(key), (None, None))
        return value if reference is not None and reference() is key else None

    def pop(self, key: Any) -> Value | None:
        value = self.get(key)
        if value is not None:
            del self._entries[id(key)]
        return value

    def __contains__(self, key: Any) -> bool:
        return self.get(key) is not None

    def __len__(self) -> int:
        return len(self._entries)

    def items(self) -> Iterator[tuple[Any, Value]]:
        """Pairs of a key that is still there and its value."""
        for reference, value in list(self._entries.values()):
            key = reference()
            if key is not None:
                yield key, value
