"""What tfshed remembers of declared models: declarations without wrappers, and what was decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tfshed.attach.declaration import Declaration
from tfshed.attach.weak_table import WeakTable


class Choice(NamedTuple):
    """What was decided about one kernel, without the kernel itself."""

    path: str
    layer: str
    shape: tuple[int, ...]
    pruned: bool
    reason: str


_declarations: WeakTable[Declaration] = WeakTable()
_reports: WeakTable[list[Choice]] = WeakTable()


def put_declaration(layer: Any, declaration: Declaration) -> None:
    """Notes what is declared for a model as a whole."""
    _declarations[layer] = declaration


def declaration_of(layer: Any) -> Declaration | None:
    """What is declared for a model as a whole; None for other layers and models with wrappers."""
    return _declarations.get(layer)


def withdraw(layer: Any) -> None:
    """Forgets a declaration and what was decided for it."""
    _declarations.pop(layer)
    _reports.pop(layer)


def put_report(layer: Any, decisions: Sequence[Any]) -> None:
    """Notes what was decided about each kernel of a layer, given as a list of `Decision`."""
    # The kernels are left out: their layers may hold this one, which then would never be deleted.
    _reports[layer] = [Choice(d.path, d.layer, d.shape, d.pruned, d.reason) for d in decisions]


def report_of(layer: Any) -> list[Choice]:
    """What was decided about each kernel when a layer was declared; empty if it was not."""
    return _reports.get(layer) or []
