"""Results at the end of a notebook's cell."""

from __future__ import annotations

import importlib
from html import escape

import keras
import pytest

import tfshed
from tfshed.observe.in_notebooks import ShownInNotebooks

SHOWN = (
    "tfshed.observe.summary_table.Summary",
    "tfshed.export.report.flops.Flops",
    "tfshed.export.Report",
    "tfshed.export.LiteRTReport",
    "tfshed.export.Packing",
    "tfshed.export.ShrinkReport",
    "tfshed.experiments.grids.grid_table.GridTable",
)


@pytest.mark.parametrize("name", SHOWN)
def test_summaries_reports_and_tables_are_shown_as_their_text(name: str) -> None:
    module, _, kind = name.rpartition(".")
    shown = getattr(importlib.import_module(module), kind)
    assert issubclass(shown, ShownInNotebooks) and shown.__str__ is not object.__str__


@pytest.mark.backend
def test_a_summary_in_a_notebook_has_every_line_of_the_printed_one() -> None:
    dense = keras.layers.Dense(4, name="head")
    net = tfshed.sparsify(keras.Sequential([keras.Input((8,)), dense], name="net"), 0.75)
    printed: list[str] = []
    html = tfshed.summary(net, print_fn=printed.append)._repr_html_()
    assert html.startswith("<pre") and escape(printed[0]) in html
    assert "<Summary" not in html
    report = tfshed.export.report(net, formats=())
    assert "sparsity of the kernels: 75.00%" in report._repr_html_()
