"""Locks the folder of a run, so that only one process at a time writes to it."""

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
    """Within the block, the folder of a run belongs to this process.

    The file `run.lock` names host and process. The operating system holds the lock on it and
    releases it when the process ends in any way, so the file of a dead process does not block
    others. On network file systems, this works across hosts if the file system supports locks. The
    file is removed at the end of the block.

    Args:
        folder: An existing folder.

    Raises:
        ValueError: Another process, or another run in this process, writes to the folder. The error
            names its host and process.
    """
    if fcntl is None:
        warnings.warn(
            f"{folder}: this operating system has no file locks, so a second process could write "
            "to this folder",
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
        # The file is removed before the lock is released. A process that has it open already then
        # notices that it does not exist any more.
        path.unlink(missing_ok=True)
        os.close(file)


def _locked(path: Path) -> int:
    """Opens and locks the file for this process."""
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
                f"{path}: this file system has no locks ({error}), so a second process could "
                "write to this folder",
                stacklevel=5,
            )
            return file
        # The process that held the lock may have removed the file between the two calls above.
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
        "to it. Wait until it has ended, end it, or choose another workdir."
    )
