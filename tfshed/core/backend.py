"""What differs between backends in spite of `keras.ops`: conditions, loops, the bits of a float.

All other files are written once with `keras.ops` and run on TensorFlow (eager, graph, XLA), JAX and
PyTorch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

INT32_MAX = np.iinfo(np.int32).max
INT32_MIN = np.iinfo(np.int32).min
# The bits of infinity. Those of every finite number are smaller, those of a NaN larger.
INF_BITS = int(np.float32(np.inf).view(np.int32))


def _concrete(x: Any) -> bool:
    """Whether the value of `x` can be read now, which it cannot while `x` is being traced."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return not isinstance(x, jax.core.Tracer)
    if backend == "torch":
        return True
    return hasattr(x, "numpy")


def cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """Like `ops.cond`, but uses a plain `if` when the predicate has a value.

    On eager JAX, `ops.cond` would compile both branches again at every call. With `torch.compile`,
    the operation's generated name would be guarded on, which causes recompilation.
    """
    if _concrete(pred):
        return true_fn() if bool(pred) else false_fn()
    return ops.cond(pred, true_fn, false_fn)


def init_scope() -> Any:
    """A context outside of the TensorFlow function being traced, where variables have values."""
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    import tensorflow as tf

    return tf.init_scope()


def while_loop(
    condition: Callable[..., Any], body: Callable[..., tuple[Any, ...]], state: tuple[Any, ...]
) -> tuple[Any, ...]:
    """Like `ops.while_loop`, but uses a plain loop when the state has values (see `cond`)."""
    if all(_concrete(x) for x in state):
        while bool(condition(*state)):
            state = body(*state)
        return state
    return tuple(ops.while_loop(condition, body, state))


def _view(x: Any, dtype: str) -> Any:
    """`ops.view` to a dtype of the same width, for scalars too, which Keras 3.12 cannot view."""
    x = ops.convert_to_tensor(x)
    if len(x.shape):
        return ops.view(x, dtype)
    return ops.reshape(ops.view(ops.reshape(x, (1,)), dtype), ())


def bits(x: Any) -> Any:
    """Returns the bits of |x| as int32, which order like the magnitudes, with NaN above infinity.

    Comparing bits is exact where comparing floats is not: backends flush denormal numbers to zero
    inside a compiled step, and every comparison with NaN is false.
    """
    # The sign bit is cleared as an integer, since `ops.abs` of a denormal may return zero.
    return ops.bitwise_and(_view(ops.cast(x, "float32"), "int32"), INT32_MAX)


def float_of(key: Any) -> Any:
    """Returns the float32 number whose bits are `key`: the inverse of `bits`."""
    return _view(key, "float32")


def signed_bits(x: Any) -> Any:
    """Returns int32 numbers that order like floats of both signs, with NaN above infinity.

    >>> x = np.array([np.nan, 2.0, -0.0, -3.0, np.inf, 0.0], "float32")
    >>> ops.convert_to_numpy(signed_bits(x)).argsort(kind="stable").tolist()
    [3, 2, 5, 1, 4, 0]
    """
    raw = _view(ops.cast(x, "float32"), "int32")
    size = ops.bitwise_and(raw, INT32_MAX)
    # A NaN with a sign is ranked like any NaN, and -0.0 like 0.0.
    return ops.where(ops.logical_and(raw < 0, size <= INF_BITS), -size, size)


def read(value: Any) -> Any:
    """Returns the current tensor of a Keras variable; a tensor is returned unchanged."""
    return ops.convert_to_tensor(value.value if isinstance(value, keras.Variable) else value)


def sum_over_replicas(x: Any) -> Any:
    """Sums a tensor over the replicas of the current tf.distribute strategy, if there is one.

    Each replica sees its own share of a gradient. All replicas must decide alike, so they must use
    the sum. On the other backends a step always sees the whole gradient.
    """
    if keras.backend.backend() != "tensorflow":
        return x
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return x
    return context.all_reduce(tf.distribute.ReduceOp.SUM, x)


def to_numpy(value: Any) -> np.ndarray:
    """Returns a variable or tensor as a numpy array, of the first replica if it has several."""
    if isinstance(value, keras.Variable):
        value = value.value
    components = getattr(value, "values", None)
    if isinstance(components, Sequence) and len(components):
        value = components[0]
    return np.asarray(ops.convert_to_numpy(value))


# So many bytes that are 0 or 1 are added up in one byte.
ROWS = 64


def count_true(mask: Any) -> Any:
    """Returns how many elements of a bool tensor are True: int32 scalar.

    On CPUs, neither TensorFlow nor XLA adds up a mask as it reads it: they write a number of 4
    bytes for each element first. So four elements are taken as the bytes of one number, and the
    rows of a matrix of such numbers are added up.
    """
    backend = keras.backend.backend()
    if backend == "jax" and keras.distribution.distribution() is None:
        from jax.lax import bitcast_convert_type as bitcast
    elif backend == "tensorflow":
        from tensorflow import bitcast
    else:
        # PyTorch is fast as it is, and kernels that are laid out over devices keep their shape.
        return ops.sum(ops.cast(mask, "int32"))
    flat = ops.reshape(mask, (-1,))
    even = int(flat.shape[0]) // (4 * ROWS) * 4 * ROWS
    fours = ops.reshape(ops.cast(flat[:even], "uint8"), (ROWS, even // (4 * ROWS), 4))
    sums = bitcast(ops.sum(bitcast(fours, "int32"), axis=0), "uint8")
    return ops.sum(ops.cast(sums, "int32")) + ops.sum(ops.cast(flat[even:], "int32"))


def host_array(x: Any) -> np.ndarray | None:
    """Returns the values of a tensor as a NumPy array that shares its memory.

    None if its values are not known yet, or are not in the memory of one CPU.
    """
    backend = keras.backend.backend()
    if not _concrete(x):
        return None
    if backend == "tensorflow":
        return np.asarray(memoryview(x)) if "CPU" in (getattr(x, "device", None) or "") else None
    if backend == "jax":
        devices = x.devices()
        return (
            np.asarray(x) if len(devices) == 1 and next(iter(devices)).platform == "cpu" else None
        )
    import torch

    if torch.compiler.is_compiling() or x.device.type != "cpu":
        return None
    return np.asarray(x.detach())


def has_value(variable: Any) -> bool:
    """Whether a variable has a value; not while a TensorFlow function that makes it is traced."""
    if keras.backend.backend() != "tensorflow":
        return True
    # tf_keras uses TensorFlow's variables directly.
    held = variable.value if isinstance(variable, keras.Variable) else variable
    return bool(to_numpy(held.is_initialized()))


def is_known(x: Any) -> bool:
    """Whether the value of a tensor can be read now, which it cannot during tracing."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.executing_eagerly())
    return _concrete(x)
