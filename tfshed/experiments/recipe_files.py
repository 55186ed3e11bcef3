"""Recipes and grids by name: finding their files, reading and loading them."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfshed.core.near_miss import near_miss

if TYPE_CHECKING:
    from ml_collections import ConfigDict

KINDS = ("recipe", "grid")
PACKAGE = Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class RecipeFile:
    """What is known about a recipe or a grid before it is run.

    Attributes:
        path: Its file.
        text: Its docstring, which describes what it shows, the commands, the time, the expected
            result and the source.
        title: The first line of the docstring.
        time: What the docstring says behind "Time:".
        arms: The names that may follow a colon, the default first; () if there is one arm only.
    """

    path: Path
    text: str
    title: str
    time: str
    arms: tuple[str, ...]


def folder(kind: str) -> Path:
    """The folder of the recipes ("recipe") or grids ("grid") that come with tfshed.

    In an installed package they are in tfshed/recipes/. In the repository they are in configs/, a
    folder at the top, as a recipe is what users read and copy first; setup.py maps one on the
    other.
    """
    installed = PACKAGE / "recipes"
    found = installed if installed.is_dir() else PACKAGE.parent / "configs"
    return found / "grids" if kind == "grid" else found


def names(kind: str) -> list[str]:
    """The names of the recipes ("recipe") or grids ("grid") that come with tfshed."""
    return sorted(file.stem for file in folder(kind).glob("[!_]*.py"))


def find(given: str, kind: str) -> tuple[Path, str]:
    """Returns the file and the arm ("" if none is given) of a recipe or a grid.

    Args:
        given: A name or a file, with an arm after a colon if wanted, such as
            "digits_resnet8:momentum0".
        kind: "recipe" or "grid".

    Raises:
        FileNotFoundError: There is no such recipe. The error suggests the most similar name.
    """
    name, _, arm = given.partition(":")
    file = Path(name).expanduser()
    if file.suffix == ".py" and file.is_file():
        return file, arm
    known = names(kind)
    if name in known:
        return folder(kind) / f"{name}.py", arm
    raise FileNotFoundError(
        f"config: expected a file, or the name of a {kind} ({', '.join(known)}), received {name!r}."
        f"{near_miss(file.stem, known)} `tfshed recipes` describes them."
    )


def read(given: str, kind: str) -> RecipeFile:
    """Returns the description of a recipe or a grid, by its name or file."""
    path, _ = find(given, kind)
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    arms = tuple(runpy.run_path(str(path)).get("ARMS", ()))
    time = re.search(
        r"^Time:(.*?)(?=^(?:Expected|Source|Shows)\b|\n\n|\Z)", text, re.MULTILINE | re.DOTALL
    )
    said = " ".join(time[1].split()) if time else "not known."
    return RecipeFile(path, text, text.partition("\n")[0], said, arms)


def load_recipe(given: str) -> ConfigDict:
    """Returns a recipe by its name or file, with an arm after a colon if it has several.

    Args:
        given: Such as "digits_resnet8", "digits_resnet8:momentum0" or "my_recipes/mine.py". A file
            has a function `get_config`, which takes the name of an arm if there are several; the
            file then has their names in `ARMS`.

    Returns:
        A locked `ml_collections.ConfigDict`, see `tfshed.experiments.recipe`.

    Raises:
        FileNotFoundError: There is no such recipe. The error suggests the most similar name.
        ValueError: There is no such arm, or the file has no function `get_config`.

    >>> load_recipe("digits_resnet8:momentum0").prune.momentum
    0.0
    >>> load_recipe("digits_resnet8:momentum10")
    Traceback (most recent call last):
    ...
    ValueError: config: expected an arm of digits_resnet8 (momentum9, momentum0), received
    'momentum10'. Did you mean 'momentum0'?
    """
    config: ConfigDict = call(given, "recipe", "get_config")
    return config


def call(given: str, kind: str, function: str) -> Any:
    """Returns what a function of the file of a recipe or a grid returns for the given arm."""
    path, arm = find(given, kind)
    found = runpy.run_path(str(path))
    make, arms = found.get(function), tuple(found.get("ARMS", ()))
    if not callable(make):
        raise ValueError(f"config: expected a function {function} in {path}, received none")
    if not arm:
        return make()
    if not inspect.signature(make).parameters:
        raise ValueError(
            f"config: expected {path.stem} without an arm, since it has one only; received {arm!r}"
        )
    if arms and arm not in arms:
        raise ValueError(
            f"config: expected an arm of {path.stem} ({', '.join(arms)}), received {arm!r}."
            f"{near_miss(arm, arms)}"
        )
    return make(arm)
