"""Puts a finished file or folder in its place: the old one stays until the new one is complete.

What is being written lies in a hidden folder beside its later place, on the same file system. The
folder is locked for as long as its process lives; the next export to the same place removes those
that killed processes left behind.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# Of Linux' renameat2: relative to the working directory, and: both names change places.
AT_FDCWD, RENAME_EXCHANGE = -100, 2


@contextmanager
def workspace(path: Path) -> Iterator[Path]:
    """Gives an empty hidden folder beside `path`, which goes when the block ends, in any case.

    Folders of killed processes, for the same `path`, go first. Where one of these was killed
    between taking an old export away and putting the new one in its place, the old one comes back.

    Args:
        path: What is to be written. Missing parents are made.
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
    """Gives a new folder's path to write to; it takes the place of `path` if the block succeeds.

    After an error nothing is left behind and what was at `path` is untouched. Where the system can
    exchange two names at once (Linux), a complete folder is at `path` at every moment; elsewhere
    there is none between two renames. Files in the old folder that no export wrote are kept.

    Args:
        path: Where the folder is to be. Missing parents are made.
        overwrite: Whether something may be there already.
        holds: A file that marks what may be overwritten, such as "saved_model.pb": a folder that
            holds something else is never replaced.
        is_own: Whether a file of the old folder is the earlier export's: called with the folder and
            the file's path in it. The others are the user's, and are in the new folder too.

    Raises:
        FileExistsError: `path` exists and may not be replaced; this is found before anything is
            written.
    """
    _check(path, overwrite, holds)
    with workspace(path) as beside:
        new, old = beside / "new", beside / "old"
        yield new
        # Again, since writing took time: someone may have put something there.
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
            f"export: expected a path where nothing is yet, received {str(path)!r}, which exists. "
            "Choose another path, or replace it: overwrite=True, on the command line --overwrite."
        )


def _check(path: Path, overwrite: bool, holds: str) -> None:
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise FileExistsError(
            f"export: expected a path where nothing is yet, received {str(path)!r}, which "
            "exists. Choose another path, or replace the earlier export: overwrite=True, on the "
            "command line --overwrite."
        )
    empty = path.is_dir() and not any(path.iterdir())
    if path.is_symlink() or not (empty or (path / holds).is_file()):
        raise FileExistsError(
            f"export: expected an earlier export (a folder with {holds}) to overwrite, received "
            f"{str(path)!r}, which is something else. Choose another path, or remove it yourself."
        )


def _keep_others(old: Path, new: Path, is_own: Callable[[Path, Path], bool]) -> None:
    """Puts the files of `old` that are no export's in `new` too, where `new` has none like it."""
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
    """Whether two paths have changed places, which only Linux does at once."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    names = os.fsencode(a), os.fsencode(b)
    return bool(rename(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0)


def _escaped(text: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)


def _locked(folder: Path) -> int | None:
    """A lock on a folder that goes with this process; None where the system has none."""
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
    try:
        lock = _locked(folder)
    except OSError:  # it has just gone
        return
    if lock is None:
        return
    if (folder / "old").exists() and not os.path.lexists(path):
        os.rename(folder / "old", path)
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)
