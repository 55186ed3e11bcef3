"""One writer: a run's folder belongs to one process at a time."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = "run.lock"


@contextlib.contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Holds the folder of a run for this process, or says who holds it.

    The file `run.lock` names host and process. The operating system holds the lock on it, and
    releases it when the process ends in whatever way: what a dead process left is taken over. On
    network file systems this works across hosts where the file system has locks. The file is
    removed at the end.

    Args:
        folder: exists.

    Raises:
        ValueError: another process, or another run in this one, writes to the folder; its host and
            process are named.
    """
    if fcntl is None:
        warnings.warn(
            f"{folder}: this operating system has no file locks, so nothing keeps a second process "
            "from writing to this folder",
            stacklevel=3,
        )
        yield
        return
    path = folder / LOCK
    file = _locked(path)
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode(), 0)
        yield
    finally:
        # Removed while it is held: whoever opened it before sees that it is no longer there.
        path.unlink(missing_ok=True)
        os.close(file)


def _locked(path: Path) -> int:
    """The opened file of that name, locked by this process."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held_by = os.pread(file, 1000, 0)
            os.close(file)
            raise ValueError(_held(path, held_by)) from None
        except OSError as error:
            warnings.warn(
                f"{path}: this file system has no locks ({error}), so nothing keeps a second "
                "process from writing to this folder",
                stacklevel=5,
            )
            return file
        # The one that held it may have removed it between the two calls.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file
        os.close(file)


def _held(path: Path, held_by: bytes) -> str:
    try:
        found = json.loads(held_by)
        who = f"process {found['pid']} on host {found['host']}"
    except (ValueError, KeyError, TypeError):
        who = "another process"
    return (
        f"{path.parent}: expected a folder that no other process writes to, but {who} is writing "
        "to it. Wait until it has ended, end it, or give another workdir."
    )
