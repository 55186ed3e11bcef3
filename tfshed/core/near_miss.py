"""Suggests the name that a user may have meant by an unknown one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near_miss(name: str, names: Iterable[str]) -> str:
    """Returns a question that suggests the most similar name, or "" if none is similar.

    Args:
        name: The unknown name.
        names: The known names.

    Example:
        >>> from tfshed.core.near_miss import near_miss
        >>> near_miss("momentm", ["momentum", "epochs"])
        " Did you mean 'momentum'?"
    """
    found = difflib.get_close_matches(name, list(names), n=1)
    return f" Did you mean {found[0]!r}?" if found else ""
