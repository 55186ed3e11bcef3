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


def bits(x: Any) -> Any:
    """The bits of |x| as int32: they order like the numbers themselves, NaN above infinity.

    Comparing bits is exact where comparing floats is not: the backends flush denormal numbers to
    zero inside a compiled step, and every comparison with NaN is false.
    """
    # The sign is cleared on the integer side, since `abs` of a denormal may come out as zero.
    return ops.bitwise_and(ops.view(ops.cast(x, "float32"), "int32"), INT32_MAX)


def float_of(key: Any) -> Any:
    """The float32 number whose bits are `key`: the inverse of `bits`."""
    return ops.view(key, "float32")


def live(value: Any) -> Any:
    """The tensor in a Keras variable, read now."""
    return ops.convert_to_tensor(value.value if isinstance(value, keras.Variable) else value)


def to_numpy(value: Any) -> np.ndarray:
    """A variable or tensor as a numpy array; under a tf.distribute strategy the first replica's."""
    if isinstance(value, keras.Variable):
        value = value.value
    components = getattr(value, "values", None)
    if isinstance(components, Sequence) and len(components):
        value = components[0]
    return np.asarray(ops.convert_to_numpy(value))
