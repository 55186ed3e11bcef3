"""Replaces a file or folder only when the new one is complete; until then the old one stays.

An export is written into a hidden folder beside its final place, on the same file system, so that
moving it there is one rename. The hidden folder is locked for as long as the writing process lives.
The next export to the same place removes the hidden folders that killed processes left behind.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# Arguments of Linux' renameat2: "paths are relative to the working directory", and "the two names
# change places".
AT_FDCWD, RENAME_EXCHANGE = -100, 2


@contextmanager
def workspace(path: Path) -> Iterator[Path]:
    """Gives an empty hidden folder beside `path`, and removes it when the block ends.

    Folders that killed processes left for the same `path` are removed first. If such a process was
    killed after it had moved the old export away and before the new one was in its place, the old
    export is put back.

    Args:
        path: The file or folder that will be written. Missing parents are created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}.tfshed-"
    for left in path.parent.glob(f"{_escaped(prefix)}*"):
        _remove_if_abandoned(left, path)
    beside = Path(tempfile.mkdtemp(prefix=prefix, dir=path.parent))
    lock = _locked(beside)
    try:
        yield beside
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        if lock is not None:
            os.close(lock)


@contextmanager
def replaced_folder(
    path: Path, *, overwrite: bool, holds: str, is_own: Callable[[Path, Path], bool]
) -> Iterator[Path]:
    """Gives the path of a new folder to write to, which replaces `path` if the block succeeds.

    After an error nothing is left behind and what was at `path` is untouched. On Linux, which can
    exchange two names in one operation, there is a complete folder at `path` at every moment. On
    other systems there is none for the short time between two renames. Files in the old folder that
    were not written by an export are copied to the new one.

    Args:
        path: Where the folder will be. Missing parents are created.
        overwrite: Whether an earlier export at `path` may be replaced.
        holds: The file by which an earlier export is recognised, such as "saved_model.pb". A folder
            without this file is never replaced, unless it is empty.
        is_own: A function that is called with the old folder and the path of a file in it, and says
            whether the earlier export wrote that file. All other files belong to the user.

    Raises:
        FileExistsError: `path` exists and may not be replaced. This is checked before anything is
            written.
    """
    _check(path, overwrite, holds)
    with workspace(path) as beside:
        new, old = beside / "new", beside / "old"
        yield new
        # Writing took time, in which somebody may have put something there.
        _check(path, overwrite, holds)
        if not path.exists():
            os.rename(new, path)
            return
        _keep_others(path, new, is_own)
        if _exchange(new, path):
            return
        os.rename(path, old)
        try:
            os.rename(new, path)
        except OSError:
            os.rename(old, path)
            raise


def check_file(path: Path, overwrite: bool) -> None:
    """Raises a FileExistsError unless a file may be written to `path`."""
    if path.is_dir() or (path.is_symlink() and overwrite):
        what = "a symbolic link" if path.is_symlink() else "a folder"
        raise FileExistsError(
            f"export: expected the path of a file, received {str(path)!r}, which is {what}. Give "
            "the name of a file."
        )
    if os.path.lexists(path) and not overwrite:
        raise FileExistsError(
            f"export: expected a path where nothing exists, received {str(path)!r}, which exists. "
            "Choose another path, or replace it with overwrite=True (on the command line "
            "--overwrite)."
        )


def _check(path: Path, overwrite: bool, holds: str) -> None:
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise FileExistsError(
            f"export: expected a path where nothing exists, received {str(path)!r}, which exists. "
            "Choose another path, or replace the earlier export with overwrite=True (on the "
            "command line --overwrite)."
        )
    empty = path.is_dir() and not any(path.iterdir())
    if path.is_symlink() or not (empty or (path / holds).is_file()):
        raise FileExistsError(
            f"export: expected an earlier export (a folder with {holds}) to overwrite, received "
            f"{str(path)!r}, which is something else. Choose another path, or remove it yourself."
        )


def _keep_others(old: Path, new: Path, is_own: Callable[[Path, Path], bool]) -> None:
    """Copies the files of `old` that no export wrote to `new`, unless `new` has a file there."""
    for file in old.rglob("*"):
        inside = file.relative_to(old)
        if (file.is_dir() and not file.is_symlink()) or is_own(old, inside):
            continue
        target = new / inside
        if os.path.lexists(target):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, target, follow_symlinks=False)


def _exchange(a: Path, b: Path) -> bool:
    """Exchanges two paths in one operation; False where the system cannot do that."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    names = os.fsencode(a), os.fsencode(b)
    return bool(rename(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0)


def _escaped(text: str) -> str:
    """The text as a glob pattern that matches only itself."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)


def _locked(folder: Path) -> int | None:
    """Locks a folder until this process ends; None if it is locked or the system has no locks."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # a file system without locks
        os.close(descriptor)
        return None
    return descriptor


def _remove_if_abandoned(folder: Path, path: Path) -> None:
    """Removes the hidden folder of a process that no longer runs, and puts back what it moved."""
    try:
        lock = _locked(folder)
    except OSError:  # another process has just removed it
        return
    if lock is None:  # its process still runs, or nobody can tell
        return
    if (folder / "old").exists() and not os.path.lexists(path):
        os.rename(folder / "old", path)
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)
