"""What the workers of a run agree on: arguments, means of a forward pass, skipped steps."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from tfshed.attach.keras3.private import delete_untracked, set_untracked


# A process has one such strategy: traced once, not in every `fit`.
@functools.lru_cache(maxsize=1)
def gather_from_workers(strategy: Any) -> Callable[[list[float]], np.ndarray]:
    """A function that all workers call alike: numbers -> (replicas, numbers), what each said."""
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def gather(row: Any) -> Any:
        return strategy.gather(strategy.run(tf.identity, (row,)), axis=0)

    return lambda values: np.asarray(gather(tf.constant([values], "float32")))


def check_alike(ask: Callable[[list[float]], np.ndarray], values: dict[str, Any]) -> None:
    """Raises ValueError unless all workers have the same values."""
    rows = ask([float(v) for v in values.values()])
    for name, column in zip(values, rows.T):
        if (column != column[0]).any():
            raise ValueError(
                f"{name}: expected the same on all workers, received {column.tolist()}. Give all "
                "of them the same arguments, and the same checkpoint to go on from."
            )


class Statistics:
    """Makes what a forward pass keeps, as the means of BatchNormalization, the same everywhere.

    In Keras 3 each replica has those of its own share of the data, and a checkpoint the chief's.
    They are linear in the batches: their mean at the end of an epoch is what a mean in each step
    would have come to, as it was in Keras 2.
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
            first = tf.where(context.replica_id_in_sync_group == 0, own, tf.zeros_like(own))
            first = context.all_reduce(tf.distribute.ReduceOp.SUM, first)
            # By differences: what is the same everywhere stays as it is, to the last bit.
            mean = first + context.all_reduce(tf.distribute.ReduceOp.MEAN, own - first)
            parts = tf.split(mean, [int(np.prod(v.shape)) for v in self._variables])
            for v, part in zip(self._variables, parts):
                v.value.assign(tf.cast(tf.reshape(part, v.shape), v.value.dtype))

        self._share = tf.function(lambda: strategy.run(replica))

    def share(self) -> None:
        """All replicas get the mean of theirs."""
        if self._variables:
            self._share()


@contextlib.contextmanager
def agreed_overflow(optimizer: Any) -> Iterator[None]:
    """Under loss scaling a step is skipped by all replicas or by none.

    Keras looks at the gradients before they are summed. A worker that skips alone would leave the
    others waiting for its gradients.
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
