"""Files and folders that appear complete or not at all, and what killed exports leave behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tfshed.export import atomic_path
from tfshed.export.atomic_path import replaced_folder, workspace


def is_own(folder, inside):
    return inside.name == "mark"


def write(path, text, **options):
    options = {"overwrite": True, "holds": "mark", "is_own": is_own} | options
    with replaced_folder(path, **options) as new:
        new.mkdir()
        (new / "mark").write_text(text)


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_is_replaced_and_the_users_files_in_it_stay(tmp_path, monkeypatch, exchange):
    if not exchange:
        monkeypatch.setattr(atomic_path, "_exchange", lambda a, b: False)
    path = tmp_path / "model"
    write(path, "one")
    (path / "mine").mkdir()
    (path / "mine" / "labels.txt").write_text("cat")
    (path / "link").symlink_to("mine/labels.txt")
    write(path, "two")
    assert (path / "mark").read_text() == "two"
    assert (path / "mine" / "labels.txt").read_text() == "cat"
    assert (path / "link").is_symlink() and (path / "link").read_text() == "cat"
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges two names at once")
def test_on_linux_there_is_a_folder_at_every_moment(tmp_path, monkeypatch):
    path = tmp_path / "model"
    write(path, "one")
    monkeypatch.setattr(os, "rename", lambda a, b: pytest.fail("two renames leave a gap"))
    write(path, "two")
    assert (path / "mark").read_text() == "two"


KILLED = """
import os, sys
from pathlib import Path
from tfshed.export import atomic_path

path, moment = Path(sys.argv[1]), sys.argv[2]
rename, renames = os.rename, []

def killed(a, b):
    if len(renames) == 1:
        os._exit(9)
    renames.append(1)
    rename(a, b)

if moment == "between the renames":
    atomic_path._exchange = lambda a, b: False
    os.rename = killed
with atomic_path.replaced_folder(
    path, overwrite=True, holds="mark", is_own=lambda *a: True
) as new:
    new.mkdir()
    (new / "mark").write_text("two")
    if moment == "while it writes":
        os._exit(9)
"""


@pytest.mark.parametrize("moment", ["while it writes", "between the renames"])
def test_what_a_killed_process_leaves_goes_with_the_next_one(tmp_path, moment):
    path = tmp_path / "model"
    write(path, "one")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, path, moment],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 9, done.stderr
    assert path.exists() == (moment == "while it writes")
    assert len(os.listdir(tmp_path)) == (2 if path.exists() else 1)
    with pytest.raises(RuntimeError, match="fails"), workspace(path):
        # The old export is back before the next one begins.
        assert (path / "mark").read_text() == "one"
        raise RuntimeError("fails")
    write(path, "three")
    assert os.listdir(tmp_path) == ["model"]
    assert (path / "mark").read_text() == "three"


def test_a_living_process_keeps_its_folder(tmp_path):
    path = tmp_path / "model"
    with workspace(path) as mine, workspace(path) as other:
        assert mine.is_dir() and other.is_dir() and mine != other
    assert os.listdir(tmp_path) == []


def test_names_with_pattern_letters(tmp_path):
    (tmp_path / ".model1.tfshed-x").mkdir()
    with workspace(tmp_path / "model[12]*"):
        pass
    assert os.listdir(tmp_path) == [".model1.tfshed-x"]
