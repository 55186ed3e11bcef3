"""A run's folder: what it was made with, and which parts of it are done."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from tfshed.observe.replace_file import replace_file

SETTINGS = "settings.json"
PACKAGES = ("tensorflow", "jax", "torch", "keras", "numpy", "scikit-learn")


class RunDirectory:
    """A folder that one experiment writes to, and that it uses again when it is resumed.

    Args:
        path: The folder, which is made if it does not exist.
        settings: Everything that the results depend on, as far as JSON can hold it.

    Attributes:
        path: The folder as a `pathlib.Path`.
        resumed: Whether the folder existed with these settings.

    Raises:
        ValueError: The folder was made with other settings (each difference is named), or it holds
            other files and no settings at all.

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> run = RunDirectory(folder, {"rate": 0.1})
    >>> run.write_json("arm/result.json", {"accuracy": 0.9})
    >>> again = RunDirectory(folder, {"rate": 0.1})
    >>> again.resumed, again.read_json("arm/result.json"), again.read_json("other.json")
    (True, {'accuracy': 0.9}, None)
    >>> RunDirectory(folder, {"rate": 0.2})
    Traceback (most recent call last):
    ...
    ValueError: ... was made with other settings: rate was 0.1, now 0.2. Give another folder, ...
    """

    def __init__(self, path: str | os.PathLike[str], settings: Mapping[str, Any]):
        self.path = Path(path)
        # As it will be read back: tuples are lists there.
        wanted = json.loads(json.dumps(dict(settings)))
        found = self.read_json(SETTINGS)
        self.resumed = found is not None
        if found is not None:
            self._check(found["settings"], wanted)
        elif self.path.is_dir() and any(self.path.iterdir()):
            raise ValueError(
                f"{self.path}: expected an empty folder or one of an earlier run, found files and "
                f"no {SETTINGS}. Give another folder."
            )
        else:
            made = {"settings": wanted, "versions": versions(), "git": git_state()}
            self.write_json(SETTINGS, made)

    def _check(self, found: dict[str, Any], wanted: dict[str, Any]) -> None:
        found, wanted = _flat(found), _flat(wanted)
        names = list(dict.fromkeys([*found, *wanted]))
        different = [
            f"{name} was {found.get(name)!r}, now {wanted.get(name)!r}"
            for name in names
            if found.get(name) != wanted.get(name)
        ]
        if different:
            raise ValueError(
                f"{self.path} was made with other settings: {'; '.join(different)}. Give another "
                "folder, or the settings it was made with."
            )

    def read_json(self, name: str) -> Any:
        """What a JSON file of the run holds; None if there is no such file."""
        path = self.path / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def write_json(self, name: str, value: Any) -> None:
        """Writes a JSON file of the run. A crash leaves the whole file or none."""
        self.write_text(name, json.dumps(value, indent=2) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Writes a text file of the run. A crash leaves the whole file or none."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)

        def write(beside: Path) -> None:
            beside.write_text(text, encoding="utf-8")

        replace_file(path, write)


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings under dotted names.

    >>> _flat({"seed": 1, "config": {"prune": {"momentum": 0.9}}})
    {'seed': 1, 'config.prune.momentum': 0.9}
    """
    out: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            out |= {f"{name}.{k}": v for k, v in _flat(value).items()}
        else:
            out[name] = value
    return out


def versions() -> dict[str, str]:
    """Python's version and those of the packages that results depend on, where installed.

    >>> "keras" in versions()
    True
    """
    found = {"python": platform.python_version()}
    for name in ("tfshed", *PACKAGES):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_state() -> dict[str, Any] | None:
    """Commit of the checkout that tfshed was imported from, and whether files differ from it.

    Returns:
        None where tfshed was not imported from a git checkout, or git is not there.

    >>> set(git_state() or {"commit": "", "changed": False}) == {"commit", "changed"}
    True
    """
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None

    def git(*words: str) -> str:
        command = ["git", "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None
