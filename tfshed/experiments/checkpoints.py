"""The checkpoints of a run: each is one file that is never incomplete; the newest is used."""

from __future__ import annotations

import json
import os
import re
import shutil
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfshed.observe.replace_file import replace_file

INFO, BEST, BEFORE_COLLAPSE = "info", "best.npz", "before-collapse.npz"
NAME = re.compile(r"step-(\d+)\.npz")


class Checkpoint(NamedTuple):
    """The contents of one file: arrays by name, and some information that JSON can hold."""

    arrays: dict[str, np.ndarray]
    info: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run, the files `step-<step>.npz` in a folder.

    A file is an uncompressed npz, which is a zip archive with checksums that detect damage. It is
    written under another name, flushed to the disk and renamed, so a crash never damages it or the
    earlier ones.

    Args:
        folder: The folder. It is created with the first checkpoint.
        keep: How many of the newest checkpoints are kept, >= 1. Default 2.

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
        """The finished checkpoints, oldest first."""
        # They are sorted by number, since names get longer with more than 8 digits.
        found = [path for path in self.folder.glob("step-*.npz") if NAME.fullmatch(path.name)]
        return sorted(found, key=_step)

    def save(self, step: int, arrays: dict[str, np.ndarray], info: dict[str, Any]) -> None:
        """Writes the checkpoint of a step, and then removes the oldest if there are too many.

        Raises:
            OSError: It cannot be written. Earlier checkpoints are not changed.
        """
        self._write(self.folder / f"step-{step:08d}.npz", step, arrays, info)
        for path in self.files()[: -self._keep]:
            path.unlink(missing_ok=True)
        self._sweep()

    def save_best(self, step: int, arrays: dict[str, np.ndarray], info: dict[str, Any]) -> None:
        """Writes the best checkpoint, `best.npz`, which replaces the previous one."""
        self._write(self.folder / BEST, step, arrays, info)

    def best(self) -> Checkpoint | None:
        """The best checkpoint; None if there is none or, with a warning, if it cannot be read."""
        path = self.folder / BEST
        return self._readable(path) if path.is_file() else None

    def keep_before_collapse(self) -> int | None:
        """Keeps a copy of the newest checkpoint, `before-collapse.npz`, whatever else is removed.

        Returns:
            Its step; None where there is no checkpoint. A copy that is there already stays.
        """
        path = self.folder / BEFORE_COLLAPSE
        if path.is_file():
            kept = self._readable(path)
            if kept is not None:
                return int(kept.info["step"])
        files = self.files()
        if not files:
            return None

        def copy(beside: Path) -> None:
            shutil.copyfile(files[-1], beside)

        replace_file(path, copy)
        return _step(files[-1])

    def _write(
        self, path: Path, step: int, arrays: dict[str, np.ndarray], info: dict[str, Any]
    ) -> None:
        entries: dict[str, Any] = {}
        dtypes: dict[str, str] = {}
        for name, value in arrays.items():
            value = np.asarray(value)
            if value.dtype.kind == "V":  # bfloat16 and float8, which npz cannot store
                dtypes[name] = value.dtype.name
                value = value.view(f"u{value.dtype.itemsize}")
            entries[f"array/{name}"] = value
        head = {"info": {**info, "step": step}, "dtypes": dtypes, "names": list(arrays)}
        entries[INFO] = np.frombuffer(json.dumps(head).encode(), np.uint8)

        def write(beside: Path) -> None:
            with beside.open("wb") as file:
                np.savez(file, **entries)
                file.flush()
                os.fsync(file.fileno())

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            replace_file(path, write)
        except OSError as error:
            raise OSError(
                f"{path}: expected to write a checkpoint, received an error ({error}). Earlier "
                "checkpoints are not damaged. Make room or repair the disk; then the same command "
                "resumes from the newest."
            ) from error

    def _sweep(self) -> None:
        """Removes the incomplete files of processes that were killed."""
        for pattern in (".step-*.npz", ".best.*.npz", ".before-collapse.*.npz"):
            for path in self.folder.glob(pattern):
                path.unlink(missing_ok=True)

    def newest(self, before: int | None = None) -> Checkpoint | None:
        """Returns the newest checkpoint that can be read; None if there are no checkpoints.

        For each newer file that cannot be read, there is a warning that names it.

        Args:
            before: If given, only checkpoints of smaller steps are used. Default None.

        Raises:
            ValueError: There are checkpoints, but none of them can be read.
        """
        files = [path for path in self.files() if before is None or _step(path) < before]
        for path in reversed(files):
            found = self._readable(path)
            if found is not None:
                return found
        if files:
            raise ValueError(
                f"{self.folder}: expected a checkpoint that can be read, received {len(files)} "
                "damaged ones. Remove the folder to start again, or choose another workdir."
            )
        return None

    @staticmethod
    def _readable(path: Path) -> Checkpoint | None:
        try:
            return _read(path)
        # A damaged archive can raise nearly any error: besides the obvious ones,
        # NotImplementedError, RuntimeError, TokenError, TypeError and MemoryError were observed.
        except Exception as error:
            warnings.warn(
                f"{path} cannot be read ({error or type(error).__name__}); trying the "
                "checkpoint before it",
                stacklevel=3,
            )
            return None


def _step(path: Path) -> int:
    found = NAME.fullmatch(path.name)
    assert found is not None
    return int(found[1])


def _read(path: Path) -> Checkpoint:
    # The file is opened here, since np.load does not close a file that it cannot read.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
        head = json.loads(found[INFO].tobytes())
        arrays = {n.removeprefix("array/"): found[n] for n in found.files if n != INFO}
    for name, dtype in head["dtypes"].items():
        arrays[name] = arrays[name].view(np.dtype(dtype))
    info = head["info"]
    if not isinstance(info["step"], int) or list(arrays) != head.get("names", list(arrays)):
        raise ValueError("its table of contents is not that of a checkpoint")
    return Checkpoint(arrays, info)
