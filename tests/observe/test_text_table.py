"""The tables of summaries, reports and results."""

from __future__ import annotations

import pytest

from tfshed.observe.text_table import text_pairs, text_table

HEAD = ["layer", "weights", "why"]


def test_columns_are_as_wide_as_their_widest_cell_and_numbers_stand_to_the_right():
    assert text_table(HEAD, [["a", "1", "x"], ["longer", "1,000", ""]], right=(1,)) == [
        "layer   weights  why",
        "--------------------",
        "a             1  x",
        "longer    1,000",
    ]


def test_a_footer_stands_under_a_rule_and_counts_for_the_widths():
    lines = text_table(HEAD, [["a", "1", ""]], footer=["total of all", "1", ""])
    assert lines[1] == lines[3] == "-" * len("total of all  weights  why")
    assert lines[0].startswith("layer         weights") and lines[4] == "total of all  1"


def test_a_table_may_have_no_rows():
    assert text_table(HEAD, []) == ["layer  weights  why", "-------------------"]


@pytest.mark.parametrize("options", [{}, {"footer": ["total"]}])
def test_a_line_with_another_number_of_cells_is_an_error(options):
    rows = [["a", "1"]] if not options else [["a", "1", "x"]]
    with pytest.raises(ValueError, match="expected 3 cells .* received"):
        text_table(HEAD, rows, **options)


def test_pairs():
    assert text_pairs({"a": "1", "long": "", "b": "2"}) == ["a     1", "long", "b     2"]
    assert text_pairs({"a": "1"}, indent="--", width=3) == ["--a    1"]
    assert text_pairs({}) == []
