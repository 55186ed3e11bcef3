"""Strategies by name: what they are, and what is said when they cannot be."""

from __future__ import annotations

import json
import threading

import keras
import numpy as np
import pytest

from tests.nets import BACKEND, data
from tfshed import distribution
from tfshed.distribution import rendezvous, resolvers, strategies


def config(count=2, index=0, kind="worker"):
    hosts = [f"host{i}:1" for i in range(count)]
    return json.dumps({"cluster": {"worker": hosts}, "task": {"type": kind, "index": index}})


@pytest.fixture(autouse=True)
def nothing_set_up(monkeypatch):
    for name in ("TF_CONFIG", "SLURM_PROCID", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    yield
    strategies._current.clear()


@pytest.mark.backend
def test_one_device_is_nothing_special():
    d = distribution.setup("one_device")
    assert (d.strategy, d.replicas, d.is_chief, d.shard) == (None, 1, True, (0, 1))
    with d.scope():
        assert strategies.current() is d


@pytest.mark.backend
def test_a_strategy_of_another_backend_is_refused():
    name = {"tensorflow": "data_parallel"}.get(BACKEND, "mirrored")
    with pytest.raises(ValueError, match=rf"on the backend {BACKEND}, received '{name}'.*KERAS_BA"):
        distribution.setup(name)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": "multi-worker"}, "received 'multi-worker'. Did you mean multi_worker"),
        ({"name": "one_device", "devices": 0}, "devices: expected at least 1, received 0"),
        ({"name": "one_device", "devices": 2}, "one_device: expected one device, received 2"),
        ({"name": "one_device", "devices": "GPU:0"}, "expected a number or a list of names"),
        ({"name": "one_device", "virtual_devices": True}, "virtual_devices: expected at least 1"),
        ({"name": "one_device", "timeout_seconds": 0}, "timeout_seconds: expected at least 1"),
    ],
)
@pytest.mark.backend
def test_bad_arguments(arguments, said):
    with pytest.raises(ValueError, match=said):
        distribution.setup(**arguments)


@pytest.mark.backend
def test_several_workers_and_another_strategy_is_an_error(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config())
    with pytest.raises(ValueError, match="'one_device' would train each of them alone"):
        distribution.setup("one_device")
    monkeypatch.setenv("TF_CONFIG", config(count=1))
    assert distribution.setup("one_device").replicas == 1


tf_only = pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.distribute")


@tf_only
def test_mirrored_takes_devices_by_number_and_name():
    d = distribution.setup("mirrored", devices=["/CPU:1", "cpu:0"], virtual_devices=2)
    assert (d.replicas, d.worker_count) == (2, 1)
    assert d.strategy.extended.worker_devices[0].endswith("CPU:1")
    assert distribution.setup("mirrored", devices=1).replicas == 1
    with pytest.raises(ValueError, match=r"at most 2, received 3; there are cpu:0, cpu:1"):
        distribution.setup("mirrored", devices=3)
    with pytest.raises(ValueError, match="expected different ones of cpu:0, cpu:1"):
        distribution.setup("mirrored", devices=["cpu:7"])
    one = distribution.setup("one_device", devices=["cpu:1"])
    assert one.strategy.extended.worker_devices[0].endswith("CPU:1")


@tf_only
def test_virtual_devices_too_late():
    with pytest.raises(RuntimeError, match="virtual_devices=3: .*before the first use"):
        distribution.setup("mirrored", virtual_devices=3)


@tf_only
def test_mirrored_fit_and_evaluate_of_an_uneven_batch():
    import tensorflow as tf

    d = distribution.setup("mirrored")
    x, y = data(23)
    with d.scope():
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
        model.compile("sgd", "mse", metrics=["mae"], jit_compile=False)
    rows = tf.data.Dataset.from_tensor_slices((x, y))
    batches = rows.batch(11)  # 11, 11 and 1
    history = distribution.fit(
        model, rows.repeat().batch(12), epochs=2, steps_per_epoch=2, validation_data=batches
    )
    assert len(history.history["val_mae"]) == 2
    found = distribution.evaluate(model, batches)
    error = np.asarray(model(x)) - y
    assert found == pytest.approx(
        {"loss": np.mean(error**2), "mae": np.mean(np.abs(error))}, rel=1e-5
    )
    with pytest.raises(ValueError, match="2 devices can share evenly, received batches of 11"):
        distribution.fit(model, rows.batch(11, drop_remainder=True), epochs=1, steps_per_epoch=1)


@tf_only
def test_no_tpu():
    with pytest.raises(RuntimeError, match="tpu: expected a TPU that TensorFlow can reach"):
        distribution.setup("tpu")


@tf_only
def test_multi_worker_says_what_it_needs():
    with pytest.raises(ValueError, match=r"found none. Set in every worker.*TF_CONFIG='{"):
        distribution.setup("multi_worker")
    with pytest.raises(ValueError, match="multi_worker: expected devices=None"):
        distribution.setup("multi_worker", virtual_devices=2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "JSON"),
        ("[]", "a cluster with workers"),
        ('{"cluster": {"ps": ["a:1"]}}', "a cluster with workers"),
        ('{"cluster": {"worker": ["a:1"]}}', "a task with type and index"),
        (config(kind="evaluator"), "task type of the cluster"),
        (config(index=2), "task index from 0 to 1, received 2"),
        (config().replace("host1", "host0"), "an address for each worker"),
    ],
)
def test_bad_tf_config(text, said):
    with pytest.raises(ValueError, match=f"TF_CONFIG: expected .*{said}.* It looks like this"):
        resolvers.parse(text)


@tf_only
def test_slurm(monkeypatch):
    step = {
        "SLURM_PROCID": "2",
        "SLURM_STEP_NUM_TASKS": "3",
        "SLURM_STEP_NODELIST": "node[1-2]",
        "SLURM_STEP_TASKS_PER_NODE": "2,1",
    }
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match="no SLURM_STEP_NUM_TASKS, .*start the workers with srun"):
        resolvers.find_resolver({"SLURM_PROCID": "2"})
    for name, value in step.items():
        monkeypatch.setenv(name, value)
    found = resolvers.find_resolver()
    assert resolvers.place_in_cluster(found) == (["node1:8888", "node1:8889", "node2:8888"], 2)
    assert found.num_accelerators() == {"GPU": 0}
    with pytest.raises(ValueError, match=r"names sort as Slurm orders them, received \['node9'"):
        resolvers.find_resolver({**step, "SLURM_STEP_NODELIST": "node[9-10]"})


@tf_only
def test_kubernetes(monkeypatch):
    """With a stand-in for the cluster's API: there is no cluster here."""
    from types import SimpleNamespace as Some

    pods = [
        Some(
            metadata=Some(name=f"job-{i}-{'ab'[i]}x"),
            status=Some(phase="Running", host_ip=f"10.0.0.{i}"),
        )
        for i in (1, 0)
    ]

    class Client:
        def list_pod_for_all_namespaces(self, label_selector):
            assert label_selector == "job-name=job"
            return Some(items=pods)

    pod = {"KUBERNETES_SERVICE_HOST": "a", "JOB_COMPLETION_INDEX": "1", "HOSTNAME": "job-1"}
    found = resolvers._kubernetes(pod, Client())
    assert resolvers.place_in_cluster(found) == (["10.0.0.0:8470", "10.0.0.1:8470"], 1)
    with pytest.raises(ValueError, match="a pod of an Indexed Job"):
        resolvers.find_resolver({"KUBERNETES_SERVICE_HOST": "a", "HOSTNAME": "web-1"})
    monkeypatch.setitem(__import__("sys").modules, "kubernetes", None)
    with pytest.raises(ImportError, match="pip install kubernetes"):
        resolvers.find_resolver(pod)


def meet(addresses, indices, seconds=20.0):
    """What became of each: None or its error."""
    ends = dict.fromkeys(indices)

    def one(index):
        try:
            rendezvous.wait_for_all(addresses, index, seconds)
        except (OSError, ValueError) as error:
            ends[index] = error

    threads = [threading.Thread(target=one, args=(i,)) for i in indices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return ends


def local(count):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as end:
        port = end.getsockname()[1]
    return [f"127.0.0.1:{port}", *(f"127.0.0.1:{i}" for i in range(1, count))]


def test_workers_meet():
    assert meet(local(3), (0, 1, 2)) == {0: None, 1: None, 2: None}


def test_a_worker_that_never_comes_is_named():
    addresses = local(3)
    ends = meet(addresses, (0, 1), seconds=1.5)
    assert isinstance(ends[0], TimeoutError)
    assert f"workers: expected 3, still missing after 1.5 s: {addresses[2]}." in str(ends[0])
    assert isinstance(ends[1], TimeoutError)
