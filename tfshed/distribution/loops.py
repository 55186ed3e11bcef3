"""`fit` and `evaluate` for every strategy. Keras' own are used wherever they work."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfshed.distribution import data_parallel
from tfshed.distribution.strategies import current
from tfshed.distribution.worker_evaluate import build, evaluation_of, floats


def fit(
    model: keras.Model,
    dataset: Any,
    *,
    epochs: int,
    steps_per_epoch: int | None,
    initial_epoch: int = 0,
    validation_data: Any = None,
    validation_steps: int | None = None,
    validation_freq: int = 1,
    callbacks: Sequence[keras.callbacks.Callback] | None = None,
    verbose: int | str = 0,
) -> Any:
    """Trains a model like `model.fit`, on whatever devices the model was built for.

    On several workers, this is a separate loop around Keras' `train_step`, with the same calls of
    callbacks in the same order and the same logs, metrics and History:

    * The logs of a batch are means over all workers. The logs of an epoch are exact over all data.
    * All workers must have the same callbacks, except for callbacks that only write the logs they
      are given or read what is safe to read on one worker. **Safe on the chief alone**: weights,
      optimizer variables (including masks, threshold and counts), `model.save`, `save_weights`.
      **Not safe alone**: metrics (`get_metrics_result`, `metrics_variables`), `fit`, `evaluate`,
      making variables. All workers must take part in these, or those that do wait forever.
      `tfshed.KeepRatio` reads metrics: give it to all workers, with a directory on the chief only;
      its `validation_data` works only if there is one worker.
    * If one worker sets `stop_training` in a batch, all workers stop after the next batch; at the
      end of an epoch, they stop at once.
    * Without `steps_per_epoch`, an epoch ends when the first worker has no more batches. With it,
      the end of a worker's data ends the epoch for all workers, with a warning, and the next epoch
      starts from the beginning of the data.
    * If a worker dies, or hangs without heartbeat, the others raise `WorkerLostError`: at once if
      it was the chief, otherwise within the `timeout_seconds` of `setup`. A worker that is alive
      and takes no steps is waited for.
    * With loss scaling, a step with an overflow on one worker is skipped on all workers.
    * What the forward pass updates (moving means of BatchNormalization) differs between workers
      during an epoch. At its end, before validation, it is averaged over all replicas.
    * `jit_compile` has no effect: the step is a plain `tf.function`. Several GPUs for each worker
      should work, but this has never been run: the tests have one device for each worker.

    On several devices of one machine ("mirrored", "data_parallel"), training is `model.fit`, and
    validation uses `evaluate` below, since Keras' own fails if devices cannot share a batch evenly.

    Args:
        model: A compiled model that was built in the scope of the `Distribution`.
        dataset: This worker's share of the data. Under `tf.distribute` it must be a
            `tf.data.Dataset` with batches of global_batch // worker_count examples, all of the same
            size; otherwise it may be anything that `model.fit` takes.
        epochs, steps_per_epoch, initial_epoch, validation_steps, validation_freq, callbacks,
            verbose: As in `model.fit`. With `steps_per_epoch`, all epochs share one iterator. Only
            the chief shows progress.
        validation_data: This worker's share of the validation data, as for `evaluate`.

    Returns:
        Keras' History.

    Raises:
        ValueError: The devices cannot share batches of this size evenly; or, on several workers,
            the model was not built in the scope, was compiled with run_eagerly,
            steps_per_execution > 1 or gradient accumulation, or workers have different arguments.
        TypeError: On several workers, `dataset` is no `tf.data.Dataset`.
        WorkerLostError: A worker was lost, see above.

    >>> import keras, tensorflow as tf, tfshed.distribution
    >>> net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> net.compile("sgd", "mse")
    >>> data = tf.data.Dataset.from_tensor_slices((tf.ones((8, 2)), tf.ones((8, 1)))).repeat()
    >>> history = tfshed.distribution.fit(net, data.batch(4), epochs=2, steps_per_epoch=2)
    >>> len(history.history["loss"])
    2
    """
    arguments = {
        "epochs": epochs,
        "steps_per_epoch": steps_per_epoch,
        "initial_epoch": initial_epoch,
        "validation_data": validation_data,
        "validation_steps": validation_steps,
        "validation_freq": validation_freq,
        "callbacks": callbacks,
        "verbose": verbose,
    }
    if _many_workers(model):
        from tfshed.distribution import worker_loop
        from tfshed.distribution.errors import worker_lost

        _check(model)
        made = current()
        if made is not None and not made.is_chief:
            arguments["verbose"] = 0
        with worker_lost(model.distribute_strategy):
            return worker_loop.fit(model, dataset, **arguments)
    if validation_data is not None and (_data_parallel() is not None or _mirrored(model)):
        # Keras' own validation fails for batches that devices cannot share evenly.
        validation = _Validation(model, validation_data, validation_steps, validation_freq)
        # It is the first callback, so that the others see the logs that it adds.
        validation.callbacks = keras.callbacks.CallbackList(
            [validation, *(callbacks or [])],
            add_history=True,
            add_progbar=verbose != 0,
            verbose=verbose,
            epochs=epochs,
            steps=steps_per_epoch,
            model=model,
        )
        arguments |= {
            "callbacks": validation.callbacks,
            "validation_data": None,
            "validation_steps": None,
        }
    _check_even(model, dataset)
    # The dataset decides the order.
    return model.fit(dataset, shuffle=False, **arguments)


def evaluate(model: keras.Model, dataset: Any, *, steps: int | None = None) -> dict[str, float]:
    """Returns the exact loss and metrics of a compiled model over the data of all workers.

    Workers may have different numbers of batches, and batches may have any size.

    Args:
        model: A compiled model. If there are several workers, all of them must call this.
        dataset: This worker's share of the data.
        steps: The number of batches to use. Default None: all.

    Returns:
        A dict from names of metrics to floats, which is the same on all workers.

    >>> import keras, tensorflow as tf, tfshed.distribution
    >>> net = keras.Sequential(
    ...     [keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="ones")]
    ... )
    >>> net.compile("sgd", "mse")
    >>> data = tf.data.Dataset.from_tensor_slices((tf.ones((7, 2)), tf.ones((7, 1))))
    >>> tfshed.distribution.evaluate(net, data.batch(4))
    {'loss': 1.0}
    """
    return _evaluation(model)(dataset, steps)


def _evaluation(model: Any) -> Callable[..., dict[str, float]]:
    """A function (dataset, steps, callbacks) -> metrics, which is compiled once for each model."""
    if _data_parallel() is not None:
        return functools.partial(data_parallel.evaluate, model)
    if not _many_workers(model) and not _mirrored(model):
        return functools.partial(_evaluate, model)
    from tfshed.distribution.errors import worker_lost

    ours = evaluation_of(model)

    def run(dataset: Any, steps: int | None, callbacks: Any = None) -> dict[str, float]:
        with worker_lost(model.distribute_strategy):
            build(model, dataset)
            return ours.run(dataset, steps, callbacks)

    return run


def _evaluate(model: Any, dataset: Any, steps: int | None) -> dict[str, float]:
    return floats(model.evaluate(dataset, steps=steps, verbose=0, return_dict=True))


def _many_workers(model: Any) -> bool:
    """Whether several workers train a model; raises ValueError if it was not built for that."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    made = current()
    wanted = made.strategy if made is not None and made.name == "multi_worker" else None
    if wanted is not None and model.distribute_strategy is not wanted:
        raise ValueError(
            f"model: expected one that was made in the scope of multi_worker, received "
            f"{model.name!r}, which each worker would train alone. Build and compile it in "
            "`with distribution.scope():`."
        )
    return isinstance(model.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy)


def _mirrored(model: Any) -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return isinstance(model.distribute_strategy, tf.distribute.MirroredStrategy)


def _check(model: Any) -> None:
    """Raises ValueError for a model that several workers cannot train."""
    if getattr(model, "optimizer", None) is None:
        raise ValueError(
            f"model: expected a compiled model, received {model.name!r}. Call model.compile first."
        )
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    for what, wanted, found in (
        ("run_eagerly", False, model.run_eagerly),
        ("steps_per_execution", 1, model.steps_per_execution),
        ("gradient_accumulation_steps", None, optimizer.gradient_accumulation_steps),
    ):
        if found != wanted:
            raise ValueError(
                f"multi_worker: expected {what}={wanted}, received {found}. Leave it out."
            )


def _check_even(model: Any, dataset: Any) -> None:
    """Raises ValueError if devices cannot share batches evenly, as far as their size is known.

    Keras' own error would not mention the batch size.
    """
    if _data_parallel() is not None:
        count = _data_parallel().device_mesh.devices.size
    else:
        count = model.distribute_strategy.num_replicas_in_sync if _mirrored(model) else 1
    for spec in keras.tree.flatten(getattr(dataset, "element_spec", ())):
        shape: Any = getattr(spec, "shape", ())
        if len(shape) and shape[0] and shape[0] % count:
            raise ValueError(
                f"dataset: expected batches that {count} devices can share evenly, received "
                f"batches of {shape[0]}. Choose a multiple of {count} as the batch size."
            )


def _data_parallel() -> Any:
    if keras.backend.backend() != "jax":
        return None
    return keras.distribution.distribution()


class _Validation(keras.callbacks.Callback):
    """Evaluates the validation data at the end of an epoch, and adds the results to its logs."""

    callbacks: Any = None

    def __init__(self, model: Any, data: Any, steps: int | None, freq: int):
        super().__init__()
        self._data, self._steps, self._freq = data, steps, freq
        self._evaluate = _evaluation(model)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if (epoch + 1) % self._freq == 0 and logs is not None:
            found = self._evaluate(self._data, self._steps, self.callbacks)
            logs.update({f"val_{name}": value for name, value in found.items()})
