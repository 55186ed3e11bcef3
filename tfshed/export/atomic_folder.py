"""Puts a finished folder in its place: the old one stays until the new one is complete."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced_folder(path: Path, *, overwrite: bool, holds: str) -> Iterator[Path]:
    """Gives a new folder's path to write to; renames it to `path` if the block succeeds.

    The folder lies in a hidden one beside `path`, on the same file system, which goes in any
    case: after an error nothing is left behind and what was at `path` is untouched. A process
    killed between the two renames of an overwrite leaves the old folder in the hidden one.

    Args:
        path: where the folder is to be. Missing parents are made.
        overwrite: whether something may be there already.
        holds: a file that marks what may be overwritten, such as `"saved_model.pb"`: a folder
            that holds something else is never removed.

    Raises:
        FileExistsError: if `path` exists, before anything is written.
    """
    _check(path, overwrite, holds)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        new, old = beside / "new", beside / "old"
        yield new
        # Again, since writing took time: someone may have put something there.
        _check(path, overwrite, holds)
        if path.exists():
            os.rename(path, old)
        try:
            os.rename(new, path)
        except OSError:
            if old.exists():
                os.rename(old, path)
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _check(path: Path, overwrite: bool, holds: str) -> None:
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise FileExistsError(
            f"export: expected a path where nothing is yet, received {str(path)!r}, which "
            "exists. Choose another path, or pass overwrite=True to replace an earlier export."
        )
    empty = path.is_dir() and not any(path.iterdir())
    if path.is_symlink() or not (empty or (path / holds).is_file()):
        raise FileExistsError(
            f"export: expected an earlier export (a folder with {holds}) to overwrite, received "
            f"{str(path)!r}, which is something else. Choose another path, or remove it yourself."
        )
