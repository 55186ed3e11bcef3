"""What is built: the packages, the recipes and the command."""

from __future__ import annotations

import configparser
import importlib
import runpy
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import setuptools

from tfshed.experiments import recipe_files

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def built(monkeypatch):
    """What setup.py hands to setuptools."""
    given: dict = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(setuptools, "setup", lambda **words: given.update(words))
    runpy.run_path(str(ROOT / "setup.py"))
    return given


def test_every_folder_with_code_is_a_package(built):
    folders = {path.parent for path in (ROOT / "tfshed").rglob("*.py")}
    names = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert names | set(built["package_dir"]) == set(built["packages"])
    assert (ROOT / "tfshed" / "py.typed").is_file()


def test_recipes_are_installed_where_they_are_looked_for(built, monkeypatch, tmp_path):
    for kind in recipe_files.KINDS:
        folder = recipe_files.folder(kind)
        [name] = [n for n, path in built["package_dir"].items() if ROOT / path == folder]
        monkeypatch.setattr(recipe_files, "PACKAGE", tmp_path / "tfshed")
        (tmp_path / Path(*name.split("."))).mkdir(parents=True)
        # With the folder of an installed package there, it is the one.
        assert recipe_files.folder(kind) == tmp_path / Path(*name.split("."))
        monkeypatch.undo()


def test_the_command_is_there():
    read = configparser.ConfigParser()
    read.read(ROOT / "setup.cfg")
    name, _, target = read["options.entry_points"]["console_scripts"].strip().partition(" = ")
    module, _, function = target.partition(":")
    assert name == "tfshed" and module == read["options"]["py_modules"]
    assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.slow
def test_a_wheel_and_a_source_distribution_have_all(tmp_path):
    """Builds both from a copy of what git tracks, and looks inside."""
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(source)], check=True)
    build = "import setuptools.build_meta as b; print(b.build_{0}({1!r}))"
    for kind in ("wheel", "sdist"):
        code = build.format(kind, str(tmp_path))
        subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    [wheel], [sdist] = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    names = set(zipfile.ZipFile(wheel).namelist())
    for kind, folder in (("recipe", "recipes"), ("grid", "recipes/grids")):
        assert {f"tfshed/{folder}/{name}.py" for name in recipe_files.names(kind)} <= names
    assert {"tfshed_command.py", "tfshed/py.typed", "tfshed/commands/report.py"} <= names
    assert not [name for name in names if name.startswith(("tests", "scripts", "configs"))]
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=source, check=True, capture_output=True, text=True
    ).stdout.split()
    assert set(tracked) - packed <= {".gitignore"}
