"""tfshed.experiments.run_lock: one writer, and nothing that a dead one leaves in the way."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

from tfshed.experiments.run_lock import LOCK, run_lock

# Imports that one file alone, which needs no Keras.
HOLD = """
import importlib.util, sys, time
from pathlib import Path
spec = importlib.util.spec_from_file_location("run_lock", sys.argv[2])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
with module.run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_is_refused_with_host_and_process_of_the_first(tmp_path):
    who = f"process {os.getpid()} on host {socket.gethostname()} is writing"
    with run_lock(tmp_path):
        for _ in range(2):
            with pytest.raises(ValueError, match=who), run_lock(tmp_path):
                raise AssertionError("two at once")
    assert not (tmp_path / LOCK).exists()
    with run_lock(tmp_path):
        pass


def test_it_is_released_when_the_run_fails(tmp_path):
    with pytest.raises(KeyError), run_lock(tmp_path):
        raise KeyError
    with run_lock(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("left", [b"", b"half", b'{"host": "gone", "pid": 1}'])
def test_what_a_dead_process_left_is_taken_over(tmp_path, left):
    (tmp_path / LOCK).write_bytes(left)
    with run_lock(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()


def test_another_process_holds_it_until_it_is_killed(tmp_path):
    file = sys.modules[run_lock.__module__].__file__
    command = [sys.executable, "-c", HOLD, str(tmp_path), file]
    first = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert first.stdout.readline() == b"held\n"
        with pytest.raises(ValueError, match=f"process {first.pid} on host"), run_lock(tmp_path):
            pass
    finally:
        first.kill()
        first.wait()
        first.stdout.close()
    assert (tmp_path / LOCK).exists()
    with run_lock(tmp_path):
        pass
