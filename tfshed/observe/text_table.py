"""Tables as lines of text: the one way in which summaries, reports and results are printed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence


def text_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Collection[int] = (),
    footer: Sequence[str] | None = None,
) -> list[str]:
    """A table with a rule under its head, and with a footer under a second rule.

    Every column is as wide as its widest cell, columns stand two spaces apart, and no line ends in
    spaces.

    Args:
        head: the names of the columns.
        rows: the cells of each line, as many as there are columns.
        right: the numbers of the columns that are aligned to the right, from 0. Default: none.
        footer: the cells of a last line, such as totals. Default None: there is none.

    Returns:
        The lines.

    Raises:
        ValueError: a line has another number of cells than the head.

    >>> rows = [["hidden", "1,024"], ["head", "80"]]
    >>> print(
    ...     "\\n".join(
    ...         text_table(["layer", "weights"], rows, right=(1,), footer=["total", "1,104"])
    ...     )
    ... )
    layer   weights
    ---------------
    hidden    1,024
    head         80
    ---------------
    total     1,104
    """
    lines = [head, *rows] if footer is None else [head, *rows, footer]
    for line in lines:
        if len(line) != len(head):
            raise ValueError(
                f"rows: expected {len(head)} cells in each line, as in the head {list(head)}, "
                f"received {list(line)}"
            )
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    ]
    rule = "-" * max(len(line) for line in text)
    if footer is None:
        return [text[0], rule, *text[1:]]
    return [text[0], rule, *text[1:-1], rule, text[-1]]


def text_pairs(values: Mapping[str, str], *, indent: str = "", width: int = 0) -> list[str]:
    """Names and their values, one pair a line, with the values one under the other.

    Args:
        values: the text for each name.
        indent: what every line begins with. Default: nothing.
        width: the least width of the column of names, in characters. Default 0: as wide as the
            longest name.

    Returns:
        The lines.

    >>> print("\\n".join(text_pairs({"seed": "0", "accuracy": "0.97"}, indent="  ", width=10)))
      seed        0
      accuracy    0.97
    """
    width = max([width, *map(len, values)])
    return [f"{indent}{name.ljust(width)}  {value}".rstrip() for name, value in values.items()]
