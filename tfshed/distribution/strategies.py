"""Ways to train on one device or many, by name."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import faulthandler
import signal
import threading
from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfshed.distribution import devices as devices_of
from tfshed.distribution import rendezvous, resolvers

# For each Keras backend, what there is; the first entry with several devices is the one to suggest.
KNOWN = {
    "tensorflow": ("one_device", "mirrored", "multi_worker", "tpu"),
    "jax": ("one_device", "data_parallel"),
    "torch": ("one_device",),
}
NAMES = ("one_device", "mirrored", "multi_worker", "tpu", "data_parallel")


@dataclasses.dataclass(frozen=True, eq=False)
class Distribution:
    """How a model is trained; made by `setup`.

    Attributes:
        name: what `setup` was asked for.
        strategy: the `tf.distribute` strategy, Keras' `DataParallel`, or None.
        replicas: copies of the model, over all workers.
        worker_index, worker_count: this process and how many there are; the chief is 0.
    """

    name: str
    strategy: Any = None
    replicas: int = 1
    worker_index: int = 0
    worker_count: int = 1

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.worker_index == 0

    @property
    def shard(self) -> tuple[int, int]:
        """(worker_index, worker_count): the share of the data that this worker reads.

        Its batches have global_batch // worker_count examples.
        """
        return self.worker_index, self.worker_count

    def scope(self) -> contextlib.AbstractContextManager:
        """Where optimizer and model are made, compiled, pruned and loaded."""
        if isinstance(self.strategy, (type(None), keras.distribution.DataParallel)):
            return contextlib.nullcontext()
        return self.strategy.scope()


# What `setup` made last, for `fit` and `evaluate` to see that a model was built for it.
_current: list[Distribution] = []


def current() -> Distribution | None:
    return _current[-1] if _current else None


def setup(
    name: str,
    *,
    devices: int | Sequence[str] | None = None,
    virtual_devices: int | None = None,
    timeout_seconds: float = 60.0,
) -> Distribution:
    """Prepares this process to train on one device or many; call it before anything else.

    * "one_device": no distribution.
    * "mirrored" (TensorFlow): all GPUs of this machine, or all (virtual) CPUs without any.
    * "multi_worker" (TensorFlow): the same program on several machines, found by TF_CONFIG, Slurm
      or Kubernetes; `tfshed.distribution.fit` says what holds there.
    * "tpu" (TensorFlow): the TPU that TensorFlow finds. Not run: no test has seen a TPU.
    * "data_parallel" (JAX): Keras' `DataParallel`, set for the whole process.

    Args:
        name: one of the above.
        devices: how many devices to use, or their names ("GPU:0"); default all.
        virtual_devices: splits the CPU into so many devices, to try a distributed run on one
            machine. Only before TensorFlow or JAX are first used.
        timeout_seconds: for "multi_worker", how long to wait for workers that have not started, and
            after which silence one counts as lost. At least 1.

    Raises:
        ValueError: an unknown name (with the nearest), one that is not for this backend, devices
            that are not there, TF_CONFIG with several workers for anything but "multi_worker" (each
            would train alone and write over the others), or an unusable TF_CONFIG.
        RuntimeError: `virtual_devices` too late, no TPU.
        TimeoutError: workers that did not come.

    >>> import tfshed.distribution
    >>> d = tfshed.distribution.setup("one_device")
    >>> d.replicas, d.is_chief, d.shard
    (1, True, (0, 1))
    >>> tfshed.distribution.setup("mirored")
    Traceback (most recent call last):
    ...
    ValueError: strategy: expected one of one_device, ... received 'mirored'. Did you mean mirrored?
    """
    _check(name, devices, virtual_devices, timeout_seconds)
    if virtual_devices is not None:
        devices_of.split_cpu(virtual_devices)
    made = MAKERS[name](devices, timeout_seconds)
    _current[:] = [made]
    return made


def _check(name: Any, devices: Any, virtual_devices: Any, timeout_seconds: Any) -> None:
    backend = keras.backend.backend()
    if name not in NAMES:
        near = difflib.get_close_matches(str(name), NAMES, 1)
        hint = f". Did you mean {near[0]}?" if near else ""
        raise ValueError(f"strategy: expected one of {', '.join(NAMES)}, received {name!r}{hint}")
    if name not in KNOWN[backend]:
        raise ValueError(
            f"strategy: {name!r} is not for the backend {backend}; there: "
            f"{', '.join(KNOWN[backend])}. Or set KERAS_BACKEND="
            f"{'jax' if name == 'data_parallel' else 'tensorflow'}"
        )
    if name != "multi_worker" and not resolvers.alone():
        raise ValueError(
            f"strategy: TF_CONFIG names several workers, and {name!r} would train each of them "
            'alone, all writing to the same files. Use "multi_worker", or unset TF_CONFIG.'
        )
    for what, value in (("devices", devices), ("virtual_devices", virtual_devices)):
        if isinstance(value, bool) or (isinstance(value, int) and value < 1):
            raise ValueError(f"{what}: expected at least 1, received {value!r}")
    if virtual_devices is not None and not isinstance(virtual_devices, int):
        raise ValueError(f"virtual_devices: expected a whole number, received {virtual_devices!r}")
    if isinstance(devices, str) or (devices is not None and not devices):
        raise ValueError(f"devices: expected a number or a list of names, received {devices!r}")
    if name in ("multi_worker", "tpu") and (devices, virtual_devices) != (None, None):
        raise ValueError(f"{name}: takes no devices, it uses all that each worker has")
    if not isinstance(timeout_seconds, (int, float)) or not 1 <= timeout_seconds < 1e6:
        raise ValueError(f"timeout_seconds: expected at least 1, received {timeout_seconds!r}")


def _one_device(devices: Any, timeout: float) -> Distribution:
    if devices is None or devices == 1:
        return Distribution("one_device")
    if isinstance(devices, int) or len(devices) != 1:
        raise ValueError(f"one_device: expected one device, received {devices!r}")
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"one_device: devices by name are for TensorFlow, received {devices!r}; hide the "
            "others from the process (CUDA_VISIBLE_DEVICES)"
        )
    import tensorflow as tf

    (name,) = devices_of.choose(devices, devices_of.of_tensorflow(("GPU", "CPU")))
    return Distribution("one_device", tf.distribute.OneDeviceStrategy(f"/{name}"))


def _mirrored(devices: Any, timeout: float) -> Distribution:
    import tensorflow as tf

    by_name = devices is not None and not isinstance(devices, int)
    there = devices_of.of_tensorflow(
        ("GPU", "CPU") if by_name else ("GPU",)
    ) or devices_of.of_tensorflow(("CPU",))
    strategy = tf.distribute.MirroredStrategy(devices_of.choose(devices, there))
    return Distribution("mirrored", strategy, strategy.num_replicas_in_sync)


def _multi_worker(devices: Any, timeout: float) -> Distribution:
    import tensorflow as tf
    from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2 as proto
    from tensorflow.python.eager import context

    resolver = resolvers.find()
    addresses, index = resolvers.place(resolver)
    rendezvous.meet(addresses, index, timeout)
    cluster = resolver.cluster_spec().as_dict()
    leader = "chief" if cluster.get("chief") else "worker"
    # The strategy does this by itself with TensorFlow's times, and leaves alone what is there.
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader=f"/job:{leader}/replica:0/task:0",
        heartbeat_timeout_in_ms=int(1000 * timeout),
        cluster_register_timeout_in_ms=int(1000 * timeout),
        shutdown_barrier_timeout_in_ms=5000,
        coordinated_jobs=[
            proto.CoordinatedJob(name=job, num_tasks=len(cluster[job]))
            for job in resolvers.TRAINING
            if cluster.get(job)
        ],
    )
    before = signal.getsignal(signal.SIGTERM)
    # If one dies right after the meeting: TensorFlow would wait without end, and with Python
    # stopped; this ends the process from outside of Python.
    faulthandler.dump_traceback_later(2 * timeout + 10, exit=True)
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    finally:
        faulthandler.cancel_dump_traceback_later()
    if before is not None and threading.current_thread() is threading.main_thread():
        # TensorFlow takes SIGTERM for itself and does nothing with it: a worker could not be ended.
        signal.signal(signal.SIGTERM, before)
    return Distribution(
        "multi_worker", strategy, strategy.num_replicas_in_sync, index, len(addresses)
    )


def _tpu(devices: Any, timeout: float) -> Distribution:
    import tensorflow as tf

    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, OSError, RuntimeError, tf.errors.OpError) as error:
        raise RuntimeError(
            f"tpu: expected a TPU that TensorFlow can reach, found none ({error})"
        ) from error
    strategy = tf.distribute.TPUStrategy(resolver)
    return Distribution("tpu", strategy, strategy.num_replicas_in_sync)


def _data_parallel(devices: Any, timeout: float) -> Distribution:
    chosen = devices_of.choose(devices, keras.distribution.list_devices())
    # The data is sharded already where there are several processes.
    strategy = keras.distribution.DataParallel(devices=chosen, auto_shard_dataset=False)
    keras.distribution.set_distribution(strategy)
    return Distribution("data_parallel", strategy, len(chosen))


MAKERS: dict[str, Callable[[Any, float], Distribution]] = {
    "one_device": _one_device,
    "mirrored": _mirrored,
    "multi_worker": _multi_worker,
    "tpu": _tpu,
    "data_parallel": _data_parallel,
}
