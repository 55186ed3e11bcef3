"""Prepares a process to train on one device or many, by the name of a strategy."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import keras

from tfshed.distribution import resolvers
from tfshed.distribution.devices import split_cpu
from tfshed.distribution.make_strategy import MAKERS, Distribution

# The strategies of each Keras backend.
KNOWN = {
    "tensorflow": ("one_device", "mirrored", "multi_worker", "tpu"),
    "jax": ("one_device", "data_parallel"),
    "torch": ("one_device",),
}
NAMES = ("one_device", "mirrored", "multi_worker", "tpu", "data_parallel")


# What `setup` returned last. `fit` and `evaluate` check that a model was built for it.
_current: list[Distribution] = []


def current() -> Distribution | None:
    """What `setup` returned last in this process; None before its first call."""
    return _current[-1] if _current else None


def setup(
    name: str,
    *,
    devices: int | Sequence[str] | None = None,
    virtual_devices: int | None = None,
    timeout_seconds: float = 60.0,
) -> Distribution:
    """Prepares this process to train on one device or many. Call it before anything else.

    * "one_device": there is no distribution.
    * "mirrored" (TensorFlow): all GPUs of this machine, or all (virtual) CPUs if there are none.
    * "multi_worker" (TensorFlow): the same program on several machines, which are found by
      TF_CONFIG, Slurm or Kubernetes. See `tfshed.distribution.fit` for what is different there.
    * "tpu" (TensorFlow): the TPU that TensorFlow finds. This has never been run on a TPU.
    * "data_parallel" (JAX): Keras' `DataParallel`, for the whole process.

    Args:
        name: One of the above.
        devices: The number of devices to use, or a list of their names ("GPU:0"). Default None:
            all devices.
        virtual_devices: The number of virtual devices to split the CPU into, with which a
            distributed run can be tried on one machine. This is possible only before the first use
            of TensorFlow or JAX. Default None: the CPU is not split.
        timeout_seconds: For "multi_worker", how many seconds to wait for workers that have not
            started, and after how many seconds without a sign of life a worker counts as lost. At
            least 1, default 60.

    Raises:
        ValueError: The name is unknown or not for this backend, a device does not exist, TF_CONFIG
            cannot be used, or it names several workers although `name` is not "multi_worker" (each
            would train alone and overwrite the files of the others).
        RuntimeError: `virtual_devices` comes too late, or there is no TPU.
        TimeoutError: Some workers have not started.

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
        split_cpu(virtual_devices)
    # The CPU is split before the strategy is made, which would initialise the devices.
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
            f"strategy: expected one of {', '.join(KNOWN[backend])} on the backend {backend}, "
            f"received {name!r}. Choose one of these, or set KERAS_BACKEND="
            f"{'jax' if name == 'data_parallel' else 'tensorflow'}."
        )
    if name != "multi_worker" and not resolvers.is_only_worker():
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
        raise ValueError(
            f"{name}: expected devices=None and virtual_devices=None, as all devices of each "
            f"worker are used, received devices={devices!r}, virtual_devices={virtual_devices!r}"
        )
    if not isinstance(timeout_seconds, (int, float)) or not 1 <= timeout_seconds < 1e6:
        raise ValueError(f"timeout_seconds: expected at least 1, received {timeout_seconds!r}")
