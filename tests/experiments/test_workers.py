"""Two workers through scripts/prune.py: one is killed, both are started again."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def start(workdir, logs):
    """Starts both workers; what they print goes to files."""
    sockets = [socket.socket() for _ in range(2)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    cluster = {"worker": [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]}
    for s in sockets:
        s.close()
    command = [
        sys.executable,
        str(ROOT / "scripts" / "prune.py"),
        f"--config={ROOT / 'configs' / 'digits_resnet8.py'}",
        f"--workdir={workdir}",
        "--strategy=multi_worker",
        "--config.initial_weights=fresh",
        "--config.prune.epochs=3",
        "--config.checkpoint.every_steps=10",
    ]
    started = []
    for i in range(2):
        task = {"cluster": cluster, "task": {"type": "worker", "index": i}}
        env = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CONFIG": json.dumps(task)}
        with (logs / f"worker{i}.txt").open("w") as out:
            started.append(subprocess.Popen(command, env=env, stdout=out, stderr=out))
    return started


@pytest.mark.slow
def test_a_killed_worker_ends_the_run_and_both_go_on(tmp_path):
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    assert [p.wait(300) for p in start(unbroken, tmp_path)] == [0, 0]
    workers = start(broken, tmp_path)
    try:
        end = time.monotonic() + 300
        while not any(broken.glob("checkpoints/step-0000002*.npz")):
            assert time.monotonic() < end and workers[0].poll() is None
            time.sleep(0.05)
        workers[1].send_signal(signal.SIGKILL)
        assert workers[0].wait(150) == 2
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    said = (tmp_path / "worker0.txt").read_text()
    assert "expected 2 workers, lost contact" in said and "Traceback" not in said
    assert [p.wait(300) for p in start(broken, tmp_path)] == [0, 0]
    assert "Resuming from step" in (tmp_path / "worker0.txt").read_text()
    assert "Resuming" not in (tmp_path / "worker1.txt").read_text()
    for name in ("keep_ratio.csv", "keep_ratio_layers.csv"):
        assert (broken / name).read_bytes() == (unbroken / name).read_bytes()
    a, b = (np.load(run / "checkpoints" / "step-00000045.npz") for run in (broken, unbroken))
    assert a.files == b.files
    for name in a.files:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.slow
def test_a_signal_to_one_worker_stops_all_with_one_checkpoint(tmp_path):
    run = tmp_path / "run"
    workers = start(run, tmp_path)
    try:
        end = time.monotonic() + 300
        while not any(run.glob("checkpoints/step-0000001*.npz")):
            assert time.monotonic() < end and workers[0].poll() is None
            time.sleep(0.05)
        workers[1].send_signal(signal.SIGTERM)
        assert [p.wait(150) for p in workers] == [128 + signal.SIGTERM] * 2
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    said = [(tmp_path / f"worker{i}.txt").read_text() for i in range(2)]
    steps = [re.search(r"stopped by SIGTERM after step (\d+)", text)[1] for text in said]
    assert steps[0] == steps[1] and (run / "checkpoints" / f"step-{int(steps[0]):08d}.npz").exists()
    assert not (run / "run.lock").exists()
    assert [p.wait(300) for p in start(run, tmp_path)] == [0, 0]
    assert f"Resuming from step {steps[0]} of 45" in (tmp_path / "worker0.txt").read_text()
