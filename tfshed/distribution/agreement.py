"""Makes the workers of a run agree on arguments, statistics of layers, and skipped steps."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from tfshed.attach.keras3.private import delete_untracked, set_untracked


# A process has only one such strategy. With the cache, the function is traced once and not in
# every `fit`.
@functools.lru_cache(maxsize=1)
def gather_from_workers(strategy: Any) -> Callable[[list[float]], np.ndarray]:
    """Returns a function that tells every worker the numbers of all workers.

    All workers must call the returned function, with equally many numbers. It returns an array
    (replicas, numbers).
    """
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def gather(row: Any) -> Any:
        return strategy.gather(strategy.run(tf.identity, (row,)), axis=0)

    return lambda values: np.asarray(gather(tf.constant([values], "float32")))


def check_same_on_all(gather: Callable[[list[float]], np.ndarray], values: dict[str, Any]) -> None:
    """Raises ValueError unless all workers have the same values; all workers must call it."""
    rows = gather([float(v) for v in values.values()])
    for name, column in zip(values, rows.T):
        if (column != column[0]).any():
            raise ValueError(
                f"{name}: expected the same on all workers, received {column.tolist()}. Start all "
                "of them with the same arguments and the same checkpoint."
            )


class SharedStatistics:
    """Averages what the forward pass updates, such as moving means of BatchNormalization.

    In Keras 3, the replicas have different moving means, each from its own share of the data, and a
    checkpoint would hold those of the chief. Since moving means are linear in the batches, their
    average at the end of an epoch equals what averaging in each step would have given, as Keras 2
    did.

    Args:
        model: A model that was built in the scope of a strategy.
    """

    def __init__(self, model: Any):
        import tensorflow as tf

        strategy = model.distribute_strategy
        self._variables = [
            v for v in model.non_trainable_variables if keras.backend.is_float_dtype(v.dtype)
        ]

        def replica() -> None:
            own = tf.concat(
                [tf.reshape(tf.cast(v.value, "float32"), [-1]) for v in self._variables], 0
            )
            context = tf.distribute.get_replica_context()
            # The sum over all replicas of what only the first one contributes is a broadcast.
            first = tf.where(context.replica_id_in_sync_group == 0, own, tf.zeros_like(own))
            first = context.all_reduce(tf.distribute.ReduceOp.SUM, first)
            # The differences to the first replica are averaged, not the values. So values that are
            # equal on all replicas do not change by rounding.
            mean = first + context.all_reduce(tf.distribute.ReduceOp.MEAN, own - first)
            parts = tf.split(mean, [int(np.prod(v.shape)) for v in self._variables])
            for v, part in zip(self._variables, parts):
                v.value.assign(tf.cast(tf.reshape(part, v.shape), v.value.dtype))

        self._share = tf.function(lambda: strategy.run(replica))

    def share(self) -> None:
        """Sets the variables of all replicas to their mean; all workers must call it."""
        if self._variables:
            self._share()


@contextlib.contextmanager
def agreed_overflow(optimizer: Any) -> Iterator[None]:
    """Within the block, all replicas skip a step with an overflow together (with loss scaling).

    Keras checks the gradients of each replica before they are summed. If one worker skipped a step
    alone, the others would wait for its gradients forever.
    """
    import tensorflow as tf

    if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        yield
        return
    local = optimizer.check_finite

    def check_finite(grads: Any) -> Any:
        overflowed = tf.cast(tf.logical_not(local(grads)), "float32")
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, overflowed) == 0.0

    set_untracked(optimizer, check_finite=check_finite)
    try:
        yield
    finally:
        delete_untracked(optimizer, "check_finite")
