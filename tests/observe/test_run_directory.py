"""RunDirectory: resuming, and what it refuses."""

from __future__ import annotations

import pytest

from tfshed.observe.run_directory import RunDirectory


def test_is_made_with_its_settings(tmp_path):
    run = RunDirectory(tmp_path / "a" / "run", {"rates": (0.1, 0.2)})
    assert not run.resumed
    found = run.read_json("settings.json")
    assert found["settings"] == {"rates": [0.1, 0.2]}
    assert "keras" in found["versions"]


def test_goes_on_with_equal_settings(tmp_path):
    RunDirectory(tmp_path, {"rates": (0.1, 0.2)}).write_text("part/note.txt", "done")
    assert RunDirectory(tmp_path, {"rates": (0.1, 0.2)}).resumed
    assert (tmp_path / "part" / "note.txt").read_text() == "done"


def test_names_every_difference(tmp_path):
    RunDirectory(tmp_path, {"rate": 0.1, "depth": 8, "old": 1})
    with pytest.raises(ValueError, match="rate was 0.1, now 0.2; old was 1, now None; new was"):
        RunDirectory(tmp_path, {"rate": 0.2, "depth": 8, "new": 2})


def test_names_differences_within_groups(tmp_path):
    RunDirectory(tmp_path, {"config": {"prune": {"momentum": 0.9, "epochs": 3}}})
    with pytest.raises(ValueError, match="settings: config.prune.momentum was 0.9, now 0.0. Give"):
        RunDirectory(tmp_path, {"config": {"prune": {"momentum": 0.0, "epochs": 3}}})


def test_refuses_a_folder_of_other_things(tmp_path):
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(ValueError, match="expected an empty folder or one of an earlier run"):
        RunDirectory(tmp_path, {})
    assert [p.name for p in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    run = RunDirectory(tmp_path, {})
    run.write_json("result.json", 1)
    with pytest.raises(TypeError):
        run.write_json("result.json", object())
    assert run.read_json("result.json") == 1
