"""Makes the `tf.distribute` strategy, or Keras' distribution, for each way to train."""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import signal
import threading
from collections.abc import Callable
from typing import Any

import keras

from tfshed.distribution import rendezvous, resolvers
from tfshed.distribution.devices import choose_devices, of_tensorflow


@dataclasses.dataclass(frozen=True, eq=False)
class Distribution:
    """How a model is trained, as `setup` has prepared it.

    Attributes:
        name: The name that `setup` was called with.
        strategy: The `tf.distribute` strategy, Keras' `DataParallel`, or None.
        replicas: The number of copies of the model on all workers together.
        worker_index, worker_count: The number of this process, and how many there are. The chief
            has number 0.
    """

    name: str
    strategy: Any = None
    replicas: int = 1
    worker_index: int = 0
    worker_count: int = 1

    @property
    def is_chief(self) -> bool:
        """Whether this process is the chief, which writes files."""
        return self.worker_index == 0

    @property
    def shard(self) -> tuple[int, int]:
        """(worker_index, worker_count), which says what share of the data this worker reads.

        Its batches must have global_batch // worker_count examples.
        """
        return self.worker_index, self.worker_count

    def scope(self) -> contextlib.AbstractContextManager:
        """A context in which optimizer and model must be made, compiled, pruned and loaded."""
        if isinstance(self.strategy, (type(None), keras.distribution.DataParallel)):
            return contextlib.nullcontext()
        return self.strategy.scope()


def _one_device(devices: Any, timeout: float) -> Distribution:
    """No distribution, possibly on a device that is chosen by name."""
    if devices is None or devices == 1:
        return Distribution("one_device")
    if isinstance(devices, int) or len(devices) != 1:
        raise ValueError(f"one_device: expected one device, received {devices!r}")
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"one_device: expected no names of devices on this backend, received {devices!r}. Hide "
            "the other devices from the process (CUDA_VISIBLE_DEVICES)."
        )
    import tensorflow as tf

    (name,) = choose_devices(devices, of_tensorflow(("GPU", "CPU")))
    return Distribution("one_device", tf.distribute.OneDeviceStrategy(f"/{name}"))


def _mirrored(devices: Any, timeout: float) -> Distribution:
    """Several devices of this machine, with TensorFlow."""
    import tensorflow as tf

    by_name = devices is not None and not isinstance(devices, int)
    there = of_tensorflow(("GPU", "CPU") if by_name else ("GPU",)) or of_tensorflow(("CPU",))
    strategy = tf.distribute.MirroredStrategy(choose_devices(devices, there))
    return Distribution("mirrored", strategy, strategy.num_replicas_in_sync)


def _multi_worker(devices: Any, timeout: float) -> Distribution:
    """Several machines, with TensorFlow; waits until all workers have started."""
    import tensorflow as tf
    from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2 as proto
    from tensorflow.python.eager import context

    resolver = resolvers.find_resolver()
    addresses, index = resolvers.place_in_cluster(resolver)
    rendezvous.wait_for_all(addresses, index, timeout)
    cluster = resolver.cluster_spec().as_dict()
    leader = "chief" if cluster.get("chief") else "worker"
    # The strategy would configure this with TensorFlow's own time limits, but it does not change an
    # existing configuration.
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
    # If a worker dies just after all have started, TensorFlow waits forever, and no Python code
    # runs meanwhile. This timer ends the process from outside of Python.
    faulthandler.dump_traceback_later(2 * timeout + 10, exit=True)
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    finally:
        faulthandler.cancel_dump_traceback_later()
    if before is not None and threading.current_thread() is threading.main_thread():
        # TensorFlow has replaced the handler of SIGTERM by one that does nothing. The worker could
        # not be stopped, so the former handler is restored.
        signal.signal(signal.SIGTERM, before)
    return Distribution(
        "multi_worker", strategy, strategy.num_replicas_in_sync, index, len(addresses)
    )


def _tpu(devices: Any, timeout: float) -> Distribution:
    """The TPU that TensorFlow finds."""
    import tensorflow as tf

    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, OSError, RuntimeError, tf.errors.OpError) as error:
        raise RuntimeError(
            f"tpu: expected a TPU that TensorFlow can reach, found none ({error}). Use another "
            "strategy on this machine."
        ) from error
    strategy = tf.distribute.TPUStrategy(resolver)
    return Distribution("tpu", strategy, strategy.num_replicas_in_sync)


def _data_parallel(devices: Any, timeout: float) -> Distribution:
    """Several devices of this machine, with JAX."""
    chosen = choose_devices(devices, keras.distribution.list_devices())
    # With several processes, each reads its own share of the data already.
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
