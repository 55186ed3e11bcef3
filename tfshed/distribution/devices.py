"""Devices by number and name, and virtual ones."""

from __future__ import annotations

from collections.abc import Sequence

import keras


def split_cpu(count: int) -> None:
    """Makes so many devices of the CPU.

    Raises:
        RuntimeError: too late, the backend runs already. ValueError: for torch.
    """
    late = RuntimeError(
        f"virtual_devices={count}: expected to be asked before the first use of "
        f"{keras.backend.backend()} in this process, which has set up its devices already. Call "
        "tfshed.distribution.setup first."
    )
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        if len(tf.config.get_logical_device_configuration(cpu) or [None]) == count:
            return
        try:
            tf.config.set_logical_device_configuration(
                cpu, [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
            )
        except RuntimeError as error:
            raise late from error
    elif keras.backend.backend() == "jax":
        import jax

        if jax.config.jax_num_cpu_devices == count:
            return
        try:
            jax.config.update("jax_num_cpu_devices", count)
        except RuntimeError as error:
            raise late from error
    else:
        raise ValueError("virtual_devices: torch has none; leave it out")


def choose(devices: int | Sequence[str] | None, there: Sequence[str]) -> list[str]:
    """Devices by number or by name, of those that are there."""
    if devices is None:
        return list(there)
    if isinstance(devices, int):
        if devices > len(there):
            raise ValueError(
                f"devices: expected at most {len(there)}, received {devices}; there are "
                f"{', '.join(there)}. virtual_devices=... splits a CPU."
            )
        return list(there[:devices])
    named = [str(d).lower().removeprefix("/").removeprefix("device:") for d in devices]
    wrong = [d for d in named if d not in there]
    if wrong or len(set(named)) < len(named):
        raise ValueError(
            f"devices: expected different ones of {', '.join(there)}, received {list(devices)}"
        )
    return named


def of_tensorflow(kinds: Sequence[str]) -> list[str]:
    """Names of TensorFlow's devices of these kinds: "gpu:0"."""
    import tensorflow as tf

    found = [d for kind in kinds for d in tf.config.list_logical_devices(kind)]
    return [f"{d.device_type}:{d.name.rpartition(':')[2]}".lower() for d in found]
