"""A file is there as a whole or not at all."""

from __future__ import annotations

import pytest

from tfshed.observe.replace_file import replace_file


def test_a_crash_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "run.txt"
    path.write_text("old")

    def crash(beside):
        beside.write_text("ha")
        assert path.read_text() == "old"
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace_file(path, crash)
    assert [p.name for p in tmp_path.iterdir()] == ["run.txt"] and path.read_text() == "old"


def test_the_new_file_has_the_name_and_its_suffix_while_it_is_written(tmp_path):
    seen = []
    replace_file(tmp_path / "plot.png", lambda p: seen.append(p.suffix) or p.write_text("new"))
    assert seen == [".png"] and (tmp_path / "plot.png").read_text() == "new"
    assert len([*tmp_path.iterdir()]) == 1
