"""Chooses devices by number or name, and splits the CPU into virtual devices."""

from __future__ import annotations

from collections.abc import Sequence

import keras


def split_cpu(count: int) -> None:
    """Splits the CPU into this number of virtual devices.

    Raises:
        RuntimeError: The backend has set up its devices already.
        ValueError: The backend is PyTorch, which has no virtual devices.
    """
    late = RuntimeError(
        f"virtual_devices={count}: expected before the first use of {keras.backend.backend()} in "
        "this process, received after it, when the devices are set up already. Call "
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
        raise ValueError(
            f"virtual_devices: expected None with PyTorch, which has no virtual devices, received "
            f"{count}. Leave it out."
        )


def choose_devices(devices: int | Sequence[str] | None, there: Sequence[str]) -> list[str]:
    """Returns names of devices.

    Args:
        devices: How many devices, or their names; None for all.
        there: The names of the devices that exist.

    Raises:
        ValueError: There are not so many devices, or a name is unknown or occurs twice.
    """
    if devices is None:
        return list(there)
    if isinstance(devices, int):
        if devices > len(there):
            raise ValueError(
                f"devices: expected at most {len(there)}, received {devices}; there are "
                f"{', '.join(there)}. To try more, split the CPU with virtual_devices=..."
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
    """The names of TensorFlow's devices of these kinds, such as "gpu:0"."""
    import tensorflow as tf

    found = [d for kind in kinds for d in tf.config.list_logical_devices(kind)]
    return [f"{d.device_type}:{d.name.rpartition(':')[2]}".lower() for d in found]
