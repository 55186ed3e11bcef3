"""Makes an HTML page of the report, with a picture of the layers in it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from html import escape

from tfshed.core.extras import need
from tfshed.export.report.cells import (
    FLOOR,
    KERNEL_HEAD,
    MARKS,
    SIZE_HEAD,
    VERDICT_HEAD,
    kernel_cells,
    size_cells,
    verdict_cells,
)
from tfshed.export.report.kernel_rows import KernelRow
from tfshed.export.report.runtimes import Condition
from tfshed.export.report.sizes import Size
from tfshed.observe.plots import COLORS, DARK

# The length of the longest bar in the table of sizes, in pixels.
BAR = 220
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 70rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; }
th, td { text-align: left; padding: 0.2rem 0.8rem 0.2rem 0; border-bottom: 1px solid #ddd;
  vertical-align: top; }
th { border-bottom: 1px solid #888; white-space: nowrap; }
.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.bar { fill: #0072b2; }
.yes { color: #00704f; font-weight: 600; } .no { color: #a33f00; }
figure { margin: 1rem 0; } figure svg { max-width: 100%; height: auto; }
p { max-width: 50rem; }
"""


def page(
    name: str,
    totals: Sequence[str],
    notes: Sequence[str],
    kernels: Sequence[KernelRow],
    sizes: Sequence[Size],
    conditions: Sequence[Condition],
) -> str:
    """Returns the whole page. It loads nothing from other files or the internet.

    Args:
        name: The name of the model.
        totals: The lines at the top of the page.
        notes: Sentences below the table of runtimes.
        kernels, sizes, conditions: The results of the report.
    """
    rows = [_cells(kernel_cells(row), right=(3, 4, 5, 6)) for row in kernels]
    verdicts = [
        [_cell(runtime), f'<td class="{faster}">{faster}</td>', _cell(why), _cell(paths)]
        for runtime, faster, why, paths in verdict_cells(list(kernels))
    ]
    holding = [
        [
            f'<td class="{ {True: "yes", False: "no", None: ""}[c.holds] }">'
            f"{MARKS[c.holds].lower()}</td>",
            _cell(c.name),
            _cell(c.found),
        ]
        for c in conditions
    ]
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(name)}: sizes and sparsity</title><style>{STYLE}</style></head>",
        f"<body><h1>{escape(name)}</h1>",
        *(f"<div>{escape(line)}</div>" for line in totals),
        "<h2>Layers</h2>",
        f"<figure>{picture(kernels)}</figure>" if kernels else "",
        "<h2>Sizes</h2>",
        _table([*SIZE_HEAD, ""], list(_size_rows(sizes)), right=(1, 2)),
        f"<p>{escape(FLOOR)}</p>",
        "<h2>What can skip the zeros</h2>",
        _table(VERDICT_HEAD, verdicts),
        *(f"<p>{escape(note)}</p>" for note in notes),
        "<h2>XNNPACK&rsquo;s conditions for sparse 1x1 convolutions</h2>",
        _table(["holds", "condition", "found"], holding),
        "<h2>Kernels</h2>",
        _table(KERNEL_HEAD, rows, right=(3, 4, 5, 6)),
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _size_rows(sizes: Sequence[Size]) -> Iterable[list[str]]:
    largest = max((s.share or 0.0 for s in sizes), default=1.0)
    for size in sizes:
        text, number, share = size_cells(size)
        if size.share is None:
            yield [_cell(text), _cell(number), f'<td colspan="2">{escape(share)}</td>']
        else:
            # The length is an attribute and not a style: some sites that show the page forbid
            # styles within elements, and all bars would have the same length.
            bar = (
                f'<svg class="bar" width="{BAR}" height="11" role="img" aria-label="{share}">'
                f'<rect width="{BAR * size.share / largest:.1f}" height="11"/></svg>'
            )
            yield [*_cells([text, number, share], right=(1, 2)), f"<td>{bar}</td>"]


def _table(head: Sequence[str], rows: list[list[str]], right: Sequence[int] = ()) -> str:
    names = "".join(
        f'<th class="n">{escape(h)}</th>' if i in right else f"<th>{escape(h)}</th>"
        for i, h in enumerate(head)
    )
    body = "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return f'<div class="scroll"><table><tr>{names}</tr>\n{body}\n</table></div>'


def _cells(texts: Sequence[str], right: Sequence[int] = ()) -> list[str]:
    return [_cell(text, i in right) for i, text in enumerate(texts)]


def _cell(text: str, right: bool = False) -> str:
    return f'<td class="n">{escape(text)}</td>' if right else f"<td>{escape(text)}</td>"


def picture(rows: Sequence[KernelRow]) -> str:
    """Plots weights and sparsity of all kernels, from input to output, as an `<svg>` element."""
    # pyplot is not used, as it would choose a backend for the user's whole process.
    rc_context = need("matplotlib", "The report as a web page").rc_context
    new_figure = need("matplotlib.figure", "The report as a web page").Figure

    places = range(len(rows))
    named = len(rows) <= 30
    # "none" keeps text as text; the fixed salt makes the same report give the same bytes.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "tfshed", "font.size": 9}):
        figure = new_figure(figsize=(10, 5 if named else 4), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True)
        above.bar(places, [r.weights for r in rows], color="0.85", label="all weights")
        above.bar(places, [r.nonzero for r in rows], color=COLORS[0], label="not zero")
        # Linear: on a logarithmic axis nine zeros of ten are a twentieth of the bar.
        above.set_ylabel("weights")
        above.legend(frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
        below.bar(places, [r.sparsity for r in rows], color=COLORS[0])
        below.axhline(_mean(rows), color=DARK, linewidth=1, linestyle="--")
        below.set_ylim(0, 1)
        below.set_ylabel("sparsity (dashed: of all)")
        below.set_xlim(-0.6, len(rows) - 0.4)
        if named:
            below.set_xticks(list(places), [_short(r.path) for r in rows], rotation=60, ha="right")
        else:
            below.set_xlabel("kernels, from input to output")
        for axes in (above, below):
            axes.spines[["top", "right"]].set_visible(False)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    # Within a page, the XML header before <svg> would be wrong. The metadata are not needed.
    return re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)


def _mean(rows: Sequence[KernelRow]) -> float:
    """The sparsity of all kernels together."""
    weights = sum(r.weights for r in rows)
    return 1.0 - sum(r.nonzero for r in rows) / max(weights, 1)


def _short(path: str, longest: int = 28) -> str:
    # In matplotlib "$" would begin a formula.
    text = path.removesuffix("/kernel").replace("$", r"\$")
    return text if len(text) <= longest else "…" + text[1 - longest :]
