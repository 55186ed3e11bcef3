"""Two real workers on this machine: they train as one process does, and notice when one is gone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.nets import BACKEND

if BACKEND != "tensorflow":
    pytest.skip("tf.distribute", allow_module_level=True)

from tests.distribution import worker
from tfshed.distribution import Distribution

SCENARIOS = ("plain", "batchnorm", "collectives", "wrong", "train")
MORE = ("overflow", "ends")
# Seconds; some thirty on two idle cores.
PATIENCE = 300


def free_ports(count):
    ends = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [end.getsockname()[1] for end in ends]
    for end in ends:
        end.close()
    return ports


def start(folder, names, ports):
    """Starts two workers; returns [(exit code, output, time of the end), ...]."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    root = Path(__file__).resolve().parents[2]
    started = []
    for index in range(2):
        config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        log = open(folder / f"log.{index}", "w")  # noqa: SIM115
        environ = os.environ | {
            "TF_CONFIG": json.dumps(config),
            "KERAS_BACKEND": "tensorflow",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(root),
        }
        command = [sys.executable, "-m", "tests.distribution.worker", str(folder), *names]
        started.append(subprocess.Popen(command, env=environ, stdout=log, stderr=log, cwd=root))
        log.close()
    deadline, ended = time.monotonic() + PATIENCE, {}
    try:
        while len(ended) < 2 and time.monotonic() < deadline:
            for process in started:
                if process.poll() is not None:
                    ended.setdefault(process.pid, time.time())
            time.sleep(0.05)
    finally:
        for process in started:
            # SIGTERM may be TensorFlow's.
            process.kill()
            process.wait()
    logs = [(folder / f"log.{index}").read_text() for index in range(2)]
    assert len(ended) == 2, f"still there after {PATIENCE} s:\n" + "\n".join(logs)
    return [(p.returncode, log, ended[p.pid]) for p, log in zip(started, logs)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """All scenarios in one pair of processes; the last one ends with a dead worker."""
    folder = tmp_path_factory.mktemp("workers")
    ends = start(folder, SCENARIOS, free_ports(2))
    assert "train done" not in ends[0][1]
    assert "wrong done" in ends[0][1], ends[0][1] + ends[1][1]
    return folder, ends


@pytest.fixture(scope="module")
def more(tmp_path_factory):
    folder = tmp_path_factory.mktemp("more")
    ends = start(folder, MORE, free_ports(2))
    assert [end[0] for end in ends] == [0, 0], ends[0][1] + ends[1][1]
    return folder


def facts(folder, name):
    return [json.loads((folder / f"{name}.{i}.json").read_text()) for i in range(2)]


def arrays(folder, name):
    """The state of the chief, after a look whether the other has the same, bit for bit."""
    chief, other = (dict(np.load(folder / f"{name}.{i}.npz")) for i in range(2))
    assert chief.keys() == other.keys()
    for key, value in chief.items():
        np.testing.assert_array_equal(value, other[key], err_msg=key)
    return chief


def close(found, wanted):
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        if value.dtype.kind in "bi":
            np.testing.assert_array_equal(found[key], value, err_msg=key)
        else:
            np.testing.assert_allclose(found[key], value, rtol=2e-5, atol=1e-6, err_msg=key)


def test_two_workers_train_as_one_process(run, tmp_path):
    folder, _ = run
    state, said = worker.plain(Distribution("one_device"), tmp_path)
    close(arrays(folder, "plain"), state)
    for index, found in enumerate(facts(folder, "plain")):
        assert found["replicas"] == 2 and found["chief"] == (index == 0)
        assert found["evaluate"] == pytest.approx(said["evaluate"], rel=1e-5)
        assert set(found["history"]) == set(said["history"])
        for name, values in said["history"].items():
            assert found["history"][name] == pytest.approx(values, rel=1e-5), name
        np.testing.assert_allclose(found["rows"], said["rows"], rtol=1e-6)
    # Pruned, and shed beyond what was asked for.
    masks = [v for k, v in state.items() if k.startswith("mask")]
    assert 0 < sum(m.sum() for m in masks) <= round(0.4 * 72)
    assert (folder / "keep" / "keep_ratio.csv").exists()


def test_the_chief_saves_alone_what_all_have(run):
    state = arrays(run[0], "batchnorm")
    saved = keras.saving.load_model(run[0] / "batchnorm.keras")
    # Keras saves no state of random numbers.
    state.pop("weight_6")
    found = worker.state(saved)
    assert found.pop("weight_6").dtype.kind == "i"
    close(found, state)


@pytest.mark.slow
def test_an_overflow_on_one_worker_skips_the_step_on_all(more):
    arrays(more, "overflow")
    for found in facts(more, "overflow"):
        assert (found["scale"], found["steps"]) == (2.0**14, worker.STEPS - 1)


def test_pruning_adds_no_collectives_to_a_step(run):
    chief, other = facts(run[0], "collectives")
    assert chief == other | {"chief": True}
    assert chief["pruned"] == chief["dense"] >= 2


@pytest.mark.slow
def test_the_end_of_one_workers_data_or_will_is_the_end_for_all(more):
    arrays(more, "ends")
    for found in facts(more, "ends"):
        assert found["short"] == [[0, 0], [0, 1]]
        assert found["stopped"] == [[0, 0], [0, 1]]
        assert np.isfinite(found["loss"]).all() and np.isfinite(found["evaluate"]["loss"])


def test_what_differs_among_workers_is_an_error_on_all(run):
    for found in facts(run[0], "wrong"):
        assert "epochs: expected the same on all workers, received [1.0, 2.0]" in found["epochs"]
        assert "expected one that was made in the scope of multi_worker" in found["scope"]


def test_a_killed_worker_ends_the_run_in_time_and_it_goes_on_from_the_checkpoint(run):
    folder, ((code, log, ended), (killed, _, _)) = run
    assert killed == -signal.SIGKILL and code == 1, log
    assert "WorkerLostError: expected 2 workers, lost contact to worker 1. See" in log
    assert "run the same command again on every worker" in log
    assert ended - float((folder / "killed").read_text()) < 3 * worker.SILENCE
    ends = start(folder, ["train", "terminate"], free_ports(2))
    assert [end[0] for end in ends] == [-signal.SIGTERM] * 2, ends[0][1] + ends[1][1]
    assert facts(folder, "train")[0]["first"] == 1
    close(arrays(folder, "train"), arrays(folder, "plain"))
