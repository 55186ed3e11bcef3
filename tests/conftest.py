"""What every test starts from: quiet logs, two CPU devices on TensorFlow, a fixed seed."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

# Read once, when TensorFlow's libraries are loaded: so before the first import of Keras.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# pytest-xdist's workers share the cores; each with a pool as wide as the machine makes all slower.
_workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_threads = max(1, (os.cpu_count() or 1) // _workers)
os.environ.setdefault("OMP_NUM_THREADS", str(_threads))
# Most of the time of a test that trains under XLA (all do on JAX) is XLA's compiler, which takes a
# fifth as long for code that is not optimized. Without fused multiply-add, which AVX has not, the
# numbers do not depend on what is fused with what. Programs that a test starts inherit this.
# `scripts/test --slow` sets XLA_FLAGS to nothing: the same tests then run what users run.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_max_isa=AVX",
)


def pytest_configure(config: pytest.Config) -> None:
    """Imports TensorFlow and Keras in processes that run tests, not in one that hands them out."""
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return
    import tfshed_command

    tfshed_command.import_tensorflow()
    import keras
    import tensorflow as tf

    if keras.backend.backend() == "tensorflow":
        # Before the first operation, and once in a process: MirroredStrategy(["CPU:0", "CPU:1"])
        # then has two replicas on a machine without accelerators.
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration(), tf.config.LogicalDeviceConfiguration()],
        )
        tf.config.threading.set_intra_op_parallelism_threads(_threads)
    # What the imports made is left out of every collection of garbage.
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def memory_goes() -> Iterator[None]:
    """Collects garbage after each file of tests: after each test it took a quarter of the time."""
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def fresh_session() -> Iterator[None]:
    """Seeds Python, NumPy and the backend before a test; clears Keras' global state after it."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    # Collectives are remembered by their keys for the life of a process, shapes included, and each
    # strategy counts from the same base: another net under a second one would be a mismatch.
    # TensorFlow's own tests move the base in the same way.
    tf.distribute.MirroredStrategy._collective_key_base += 100000
    yield
    keras.backend.clear_session(free_memory=False)
    keras.mixed_precision.set_dtype_policy("float32")
