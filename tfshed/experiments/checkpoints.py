"""Checkpoints of a run: one file each, whole or not there; the newest that can be read counts."""

from __future__ import annotations

import json
import os
import warnings
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfshed.observe.replace_file import replace_file

INFO = "info"
# What reading a file that was cut off, overwritten or is of something else can raise.
UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


class Checkpoint(NamedTuple):
    """What one file holds: the arrays by name, and a few numbers that JSON can hold."""

    arrays: dict[str, np.ndarray]
    info: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run, `step-<step>.npz` in a folder.

    A file is an uncompressed npz (a zip archive, whose checksums find damage), written under
    another name, flushed to the disk and renamed: a crash at any moment leaves the old ones.

    Args:
        folder: made when the first is written.
        keep: how many of the newest stay, >= 1.

    Example:
        >>> import numpy as np, tempfile
        >>> checkpoints = Checkpoints(tempfile.mkdtemp(), keep=2)
        >>> for step in (10, 20, 30):
        ...     checkpoints.save(step, {"w": np.full(2, step)}, {"epoch": step // 10})
        >>> [path.name for path in checkpoints.files()]
        ['step-00000020.npz', 'step-00000030.npz']
        >>> checkpoints.newest().info, checkpoints.newest().arrays["w"]
        ({'epoch': 3, 'step': 30}, array([30, 30]))
    """

    def __init__(self, folder: str | os.PathLike[str], keep: int = 2):
        self.folder, self._keep = Path(folder), keep

    def files(self) -> list[Path]:
        """Finished checkpoints, oldest first."""
        return sorted(self.folder.glob("step-*.npz"))

    def save(self, step: int, arrays: dict[str, np.ndarray], info: dict[str, Any]) -> None:
        """Writes the checkpoint of a step, then removes those that are too many."""
        info = {**info, "step": step}
        entries: dict[str, Any] = {}
        dtypes: dict[str, str] = {}
        for name, value in arrays.items():
            value = np.asarray(value)
            if value.dtype.kind == "V":  # bfloat16 and float8, which npz does not know
                dtypes[name] = value.dtype.name
                value = value.view(f"u{value.dtype.itemsize}")
            entries[f"array/{name}"] = value
        text = json.dumps({"info": info, "dtypes": dtypes})
        entries[INFO] = np.frombuffer(text.encode(), np.uint8)

        def write(path: Path) -> None:
            with path.open("wb") as file:
                np.savez(file, **entries)
                file.flush()
                os.fsync(file.fileno())

        self.folder.mkdir(parents=True, exist_ok=True)
        replace_file(self.folder / f"step-{step:08d}.npz", write)
        for path in self.files()[: -self._keep]:
            path.unlink(missing_ok=True)
        self._sweep()

    def _sweep(self) -> None:
        """Removes what killed processes left half written."""
        for path in self.folder.glob(".step-*.npz"):
            path.unlink(missing_ok=True)

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that can be read; None if there is none.

        Warns (UserWarning) for each newer file that cannot be read, naming it.

        Raises:
            ValueError: there are checkpoints and not one can be read.
        """
        files = self.files()
        for path in reversed(files):
            try:
                return _read(path)
            except UNREADABLE as error:
                warnings.warn(
                    f"{path} cannot be read ({error or type(error).__name__}); trying the "
                    "checkpoint before it",
                    stacklevel=2,
                )
        if files:
            raise ValueError(
                f"{self.folder}: expected a checkpoint that can be read, received {len(files)} "
                "damaged ones. Remove the folder to begin again, or give another workdir."
            )
        return None


def _read(path: Path) -> Checkpoint:
    # Opened here: np.load leaves a file open that it cannot read.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
        head = json.loads(found[INFO].tobytes())
        arrays = {n.removeprefix("array/"): found[n] for n in found.files if n != INFO}
    for name, dtype in head["dtypes"].items():
        arrays[name] = arrays[name].view(np.dtype(dtype))
    return Checkpoint(arrays, head["info"])
