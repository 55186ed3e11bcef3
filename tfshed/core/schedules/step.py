"""Lets schedules compute with a step of any kind: a number, or a tensor of any framework."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np


class Ops(NamedTuple):
    """The operations that schedules need, in the framework that the step belongs to."""

    where: Callable[[Any, Any, Any], Any]
    clip: Callable[[Any, int, int], Any]
    exp: Callable[[Any], Any]
    real: Callable[[Any], Any]


def open_step(step: Any) -> tuple[Ops, Any]:
    """Returns the operations for `step`, and `step` as a signed integer or at least float32."""
    if isinstance(step, keras.Variable):
        step = step.value
    # If `step` is a tensor, its framework has been imported already, so none is imported here.
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(step, torch.Tensor):
        wide = torch.float32 if step.is_floating_point() else torch.int64
        step = step.to(torch.promote_types(step.dtype, wide))
        return Ops(torch.where, torch.clamp, torch.exp, lambda x: x.to(torch.float32)), step
    jax = sys.modules.get("jax")
    if jax is not None and isinstance(step, jax.Array):
        jnp = jax.numpy
        # In JAX `int` means int64 only if the user has turned x64 on, and int32 otherwise.
        real = jnp.issubdtype(step.dtype, jnp.floating)
        step = step.astype(jnp.promote_types(step.dtype, jnp.float32) if real else int)
        return Ops(jnp.where, jnp.clip, jnp.exp, lambda x: x.astype(jnp.float32)), step
    tf = sys.modules.get("tensorflow")
    if tf is not None and tf.is_tensor(step):
        if step.dtype != tf.float64:
            step = tf.cast(step, tf.float32 if step.dtype.is_floating else tf.int64)
        return Ops(tf.where, tf.clip_by_value, tf.exp, lambda x: tf.cast(x, tf.float32)), step
    array = np.asarray(step)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"expected step to be a number or a tensor, received {step!r}")
    array = array.astype(np.float64 if array.dtype.kind == "f" else np.int64)
    return Ops(np.where, np.clip, np.exp, np.float64), array


def close(result: Any) -> Any:
    """Converts a NumPy scalar to a Python number; returns anything else unchanged."""
    scalar = isinstance(result, (np.generic, np.ndarray)) and result.ndim == 0
    return result.item() if scalar else result
