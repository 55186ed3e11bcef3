"""What Keras' own ops leave to each backend: conditions, loops, the bits of a float.

Everything above this file is written once with `keras.ops` and runs on TensorFlow (eager, graph,
XLA), JAX and PyTorch.
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
# The bits of infinity: those of every number are below, those of a NaN above.
INF_BITS = int(np.float32(np.inf).view(np.int32))


def _concrete(x: Any) -> bool:
    """Whether the value of `x` can be looked at now (it is not being traced)."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return not isinstance(x, jax.core.Tracer)
    if backend == "torch":
        return True
    return hasattr(x, "numpy")


def cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """`ops.cond`, but a plain `if` where the predicate is known.

    On eager JAX `ops.cond` compiles both branches again at every call, and `torch.compile` guards
    on the operation's generated name.
    """
    if _concrete(pred):
        return true_fn() if bool(pred) else false_fn()
    return ops.cond(pred, true_fn, false_fn)


def init_scope() -> Any:
    """Out of the TensorFlow function that is being traced, if any: where variables have values."""
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    import tensorflow as tf

    return tf.init_scope()


def while_loop(
    condition: Callable[..., Any], body: Callable[..., tuple[Any, ...]], state: tuple[Any, ...]
) -> tuple[Any, ...]:
    """`ops.while_loop`, but a plain loop where the state is known (see `cond`)."""
    if all(_concrete(x) for x in state):
        while bool(condition(*state)):
            state = body(*state)
        return state
    return tuple(ops.while_loop(condition, body, state))


def _view(x: Any, dtype: str) -> Any:
    """`ops.view` to a dtype of the same width; that of Keras 3.12 takes no scalars."""
    x = ops.convert_to_tensor(x)
    if len(x.shape):
        return ops.view(x, dtype)
    return ops.reshape(ops.view(ops.reshape(x, (1,)), dtype), ())


def bits(x: Any) -> Any:
    """The bits of |x| as int32: they order like the numbers themselves, NaN above infinity.

    Comparing bits is exact where comparing floats is not: the backends flush denormal numbers to
    zero inside a compiled step, and every comparison with NaN is false.
    """
    # The sign is cleared on the integer side, since `abs` of a denormal may come out as zero.
    return ops.bitwise_and(_view(ops.cast(x, "float32"), "int32"), INT32_MAX)


def float_of(key: Any) -> Any:
    """The float32 number whose bits are `key`: the inverse of `bits`."""
    return _view(key, "float32")


def signed_bits(x: Any) -> Any:
    """Int32 numbers that order like the floats themselves, of both signs, NaN above infinity.

    >>> x = np.array([np.nan, 2.0, -0.0, -3.0, np.inf, 0.0], "float32")
    >>> ops.convert_to_numpy(signed_bits(x)).argsort(kind="stable").tolist()
    [3, 2, 5, 1, 4, 0]
    """
    raw = _view(ops.cast(x, "float32"), "int32")
    size = ops.bitwise_and(raw, INT32_MAX)
    # A NaN with a sign is a NaN like others, and -0 is 0.
    return ops.where(ops.logical_and(raw < 0, size <= INF_BITS), -size, size)


def read(value: Any) -> Any:
    """The tensor in a Keras variable, read now; a tensor as it is."""
    return ops.convert_to_tensor(value.value if isinstance(value, keras.Variable) else value)


def sum_over_replicas(x: Any) -> Any:
    """A tensor summed over the replicas of the tf.distribute strategy in force, if there is one.

    A replica sees its own share of a gradient; what every replica is to decide alike must be made
    of the whole. The other backends give a step the whole gradient.
    """
    if keras.backend.backend() != "tensorflow":
        return x
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return x
    return context.all_reduce(tf.distribute.ReduceOp.SUM, x)


def to_numpy(value: Any) -> np.ndarray:
    """A variable or tensor as a numpy array; under a tf.distribute strategy the first replica's."""
    if isinstance(value, keras.Variable):
        value = value.value
    components = getattr(value, "values", None)
    if isinstance(components, Sequence) and len(components):
        value = components[0]
    return np.asarray(ops.convert_to_numpy(value))


def has_value(variable: Any) -> bool:
    """Whether a variable has a value; not if TensorFlow makes it in a function being traced."""
    if keras.backend.backend() != "tensorflow":
        return True
    # A variable of tf_keras is TensorFlow's own.
    held = variable.value if isinstance(variable, keras.Variable) else variable
    return bool(to_numpy(held.is_initialized()))


def is_known(x: Any) -> bool:
    """Whether the value of a tensor can be looked at now: nothing is being traced."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.executing_eagerly())
    return _concrete(x)
