"""What may have been meant by a name that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near_miss(name: str, names: Iterable[str]) -> str:
    """A question that names what may have been meant; empty if nothing is near.

    Example:
        >>> from tfshed.core.near_miss import near_miss
        >>> near_miss("momentm", ["momentum", "epochs"])
        " Did you mean 'momentum'?"
    """
    found = difflib.get_close_matches(name, list(names), n=1)
    return f" Did you mean {found[0]!r}?" if found else ""
