"""How summaries, reports and tables are shown in notebooks."""

from __future__ import annotations

from html import escape


class ShownInNotebooks:
    """A base of results whose `str()` is a text of aligned columns.

    At the end of a cell, a notebook shows such a result as that text. Without this it would show
    the short `repr()`.

    >>> class Table(ShownInNotebooks):
    ...     def __str__(self):
    ...         return "a < b"
    >>> Table()._repr_html_()
    '<pre style="line-height: 1.25; overflow-x: auto; white-space: pre">a &lt; b</pre>'
    """

    def _repr_html_(self) -> str:
        style = "line-height: 1.25; overflow-x: auto; white-space: pre"
        return f'<pre style="{style}">{escape(str(self))}</pre>'
