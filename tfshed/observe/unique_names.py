"""Names that tell things apart."""

from __future__ import annotations

from collections.abc import Sequence


def unique_names(names: Sequence[str]) -> list[str]:
    """The names, of which repeated ones have a number.

    >>> unique_names(["kernel", "kernel", "bias"])
    ['kernel', 'kernel#2', 'bias']
    """
    return [
        name if names[:i].count(name) == 0 else f"{name}#{names[:i].count(name) + 1}"
        for i, name in enumerate(names)
    ]
