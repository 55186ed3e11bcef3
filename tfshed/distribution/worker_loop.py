"""The training loop for several workers, on which Keras' own `fit` fails (keras#20585).

It makes the same calls in the same order around Keras' `train_step`, on each worker with its own
share of the data. All workers must take the same steps, or they would wait for each other forever.
So if one worker's data ends, or one of its callbacks asks to stop, this is sent to the others
together with the metrics of the next step, in one small all-reduce.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfshed.core.backend import to_numpy
from tfshed.distribution.agreement import (
    SharedStatistics,
    agreed_overflow,
    check_same_on_all,
    gather_from_workers,
)
from tfshed.distribution.worker_evaluate import build, evaluation_of, per_replica


def fit(
    model: Any,
    dataset: Any,
    *,
    epochs: int,
    steps_per_epoch: int | None,
    initial_epoch: int,
    validation_data: Any,
    validation_steps: int | None,
    validation_freq: int,
    callbacks: Any,
    verbose: Any,
) -> Any:
    """Trains like `model.fit`, with any `tf.distribute` strategy; see `tfshed.distribution.fit`."""
    strategy = model.distribute_strategy
    build(model, dataset)
    callbacks = keras.callbacks.CallbackList(
        callbacks,
        add_history=True,
        add_progbar=verbose != 0,
        verbose=verbose,
        epochs=epochs,
        steps=steps_per_epoch,
        model=model,
    )
    model.stop_training = False
    step = train_function(model)
    evaluation = evaluation_of(model)
    callbacks.on_train_begin()
    # In this attribute `keras.callbacks.BackupAndRestore` stores the epoch from which to resume.
    first = getattr(model, "_initial_epoch", None) or initial_epoch
    gather = gather_from_workers(strategy)
    check_same_on_all(
        gather,
        {
            "first epoch": first,
            "epochs": epochs,
            "steps_per_epoch": steps_per_epoch or 0,
            "validation_data given": validation_data is not None,
            "validation_freq": validation_freq,
            "optimizer steps taken": int(to_numpy(model.optimizer.iterations)),
        },
    )
    batches, statistics = Batches(dataset, steps_per_epoch), SharedStatistics(model)
    final_logs: Any = None
    with agreed_overflow(model.optimizer):
        for epoch in range(first, epochs):
            model.reset_metrics()
            callbacks.on_epoch_begin(epoch)
            logs = _epoch(model, step, batches, callbacks, gather)
            statistics.share()
            epoch_logs = dict(_epoch_logs(model, logs))
            if validation_data is not None and (epoch + 1) % validation_freq == 0:
                found = evaluation.run(validation_data, validation_steps, callbacks)
                epoch_logs |= {f"val_{name}": value for name, value in found.items()}
            callbacks.on_epoch_end(epoch, epoch_logs)
            final_logs = epoch_logs
            if gather([float(model.stop_training)]).any():
                model.stop_training = True
                break
    if isinstance(model.optimizer, keras.optimizers.Optimizer) and epochs > 0:
        model.optimizer.finalize_variable_values(model.trainable_weights)
    callbacks.on_train_end(logs=final_logs)
    return model.history


def _epoch(model: Any, step: Callable, batches: Batches, callbacks: Any, gather: Callable) -> Any:
    """Trains for one epoch, and returns the logs of its last batch."""
    logs: Any = {}
    if not gather([float(batches.begin())]).all():
        raise ValueError(
            "dataset: expected batches for every worker, received none on at least one of them. "
            "Use fewer workers or smaller batches."
        )
    for number in batches.numbers():
        callbacks.on_train_batch_begin(number)
        batch, last = batches.take()
        # If a callback asked to stop in the previous batch, all workers learn it from this one.
        logs, stop, ended = step(batch, [float(model.stop_training), float(last)])
        if stop:
            # Set before the callbacks run, since now all workers know it and can act together.
            model.stop_training = True
        callbacks.on_train_batch_end(number, logs)
        if stop:
            break
        if ended:
            batches.ended = True
            if not batches.done(number):
                batches.warn()
                break
    return logs


def _epoch_logs(model: Any, logs: Any) -> Any:
    """The logs that Keras' `fit` reports: metrics, or what a user's own `train_step` returns."""
    found = model.get_metrics_result()
    return found if set(found) == set(logs) else logs


class Batches:
    """Takes a worker's batches one by one, and knows whether another one follows.

    If `steps_per_epoch` is given, one iterator is used for all epochs until the data of a worker
    ends. Otherwise, each epoch has a new iterator.

    Args:
        dataset: The worker's batches.
        steps: The steps of an epoch; None if an epoch lasts as long as the data.
    """

    def __init__(self, dataset: Any, steps: int | None):
        self._dataset, self._steps = dataset, steps
        self._iterator: Any = None
        self._next: Any = None
        self.ended = False

    def begin(self) -> bool:
        """Starts an epoch, and returns whether it has a first batch."""
        if self._iterator is None or self._steps is None or self.ended:
            self._iterator = iter(self._dataset)
            self._next = next(self._iterator, None)
            self.ended = False
        return self._next is not None

    def numbers(self) -> Any:
        """Yields the numbers of the batches of an epoch."""
        number = 0
        while self._steps is None or number < self._steps:
            yield number
            number += 1

    def take(self) -> tuple[Any, bool]:
        """Returns the next batch, and whether it is the last one."""
        batch, self._next = self._next, next(self._iterator, None)
        return batch, self._next is None

    def done(self, number: int) -> bool:
        """Whether the batch of this number completes the epoch."""
        return self._steps is not None and number + 1 >= self._steps

    def warn(self) -> None:
        """Warns that the data ended too early, if the epoch should have had a number of steps."""
        if self._steps is not None:
            warnings.warn(
                "The data of a worker ended within an epoch, so the epoch was ended for all "
                f"workers. Expected batches for {self._steps} steps in each epoch: .repeat() the "
                "dataset.",
                stacklevel=2,
            )


def train_function(model: Any) -> Callable:
    """Returns a training step of all replicas: (batch, [stop, last]) -> (logs, any stop, any last).

    The logs are means over all replicas. Keras itself sums the gradients.
    """
    import tensorflow as tf

    strategy = model.distribute_strategy
    form: list[Any] = []

    def replica(data: Any, flags: Any) -> Any:
        logs = model.train_step(data)
        leaves = [tf.cast(leaf, "float32") for leaf in keras.tree.flatten(logs)]
        form[:] = [logs, [tuple(leaf.shape) for leaf in leaves]]
        # Logs and flags are joined to one vector, so that one all-reduce exchanges everything. The
        # mean of a flag is above 0 if any replica has set it.
        packed = tf.concat([tf.reshape(leaf, [-1]) for leaf in leaves] + [flags], 0)
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.MEAN, packed)

    @tf.function(reduce_retracing=True)
    def replicas(data: Any, flags: Any) -> Any:
        # The result is the same on all replicas, so that of the first is used.
        return strategy.experimental_local_results(strategy.run(replica, (data, flags)))[0]

    def step(batch: Any, flags: list[float]) -> tuple[Any, bool, bool]:
        found = replicas(per_replica(strategy, batch, exact=True), tf.constant(flags)).numpy()
        logs, shapes = form
        sizes = [int(np.prod(shape)) for shape in shapes]
        parts = np.split(found, np.cumsum(sizes))
        leaves = [part.reshape(shape) for part, shape in zip(parts, shapes)]
        values = [leaf.item() if leaf.ndim == 0 else leaf for leaf in leaves]
        return keras.tree.pack_sequence_as(logs, values), found[-2] > 0, found[-1] > 0

    step.function = replicas  # type: ignore[attr-defined]
    return step
