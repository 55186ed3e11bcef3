"""`fit` and `evaluate`: Keras' own wherever they work."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras

from tfshed.distribution import data_parallel
from tfshed.distribution.strategies import current
from tfshed.distribution.worker_evaluate import build, evaluation_of, floats


def fit(
    model: Any,
    dataset: Any,
    *,
    epochs: int,
    steps_per_epoch: int | None,
    initial_epoch: int = 0,
    validation_data: Any = None,
    validation_steps: int | None = None,
    validation_freq: int = 1,
    callbacks: Any = None,
    verbose: Any = 0,
) -> Any:
    """`model.fit`, wherever the model was built.

    On several workers it is a loop of our own around Keras' `train_step`, with the same calls of
    callbacks in the same order, the same logs, metrics and History:

    * Logs of a batch are means over all workers, logs of an epoch exact over all of the data.
    * Every worker has the same callbacks, but for those that only write what they are given or what
      is safe to read alone. **Safe on the chief alone**: weights, optimizer variables (masks,
      threshold and counts too), `model.save`, `save_weights`. **Not safe alone**: metrics
      (`get_metrics_result`, `metrics_variables`), `fit`, `evaluate`, making variables: all workers
      take part, or those that do wait. `tfshed.KeepRatio` reads metrics: give it to all workers,
      and a directory to the chief only; its `validation_data` works on one worker only.
    * `stop_training` set in a batch takes effect after the next one, on all workers, whoever
      set it; at the end of an epoch at once.
    * An epoch without `steps_per_epoch` ends with the worker that has the fewest batches; with it,
      the end of a worker's data ends the epoch for all, with a warning, and the next begins anew.
    * A worker that dies, or hangs without heartbeat, is a `WorkerLostError` on the others: at once
      when the chief dies, within `timeout_seconds` of `setup` otherwise. A worker that lives and
      takes no steps is waited for.
    * Loss scaling: a step with an overflow on one worker is skipped on all of them.
    * What the forward pass keeps (BatchNormalization's means) is that of the worker's own share
      during an epoch, and the mean over all replicas from its end on, before validation.
    * `jit_compile` has no effect there: the step is a plain `tf.function`. Several GPUs for a
      worker are provided for and not run: tests have one device for each.

    On several devices of one machine (mirrored, data_parallel) training is `model.fit`, and
    validation `evaluate` below, since Keras' own fails for batches they cannot share evenly.

    Args:
        model: compiled, built in the scope of the `Distribution`.
        dataset: this worker's share of the data; under `tf.distribute` a `tf.data.Dataset`, with
            batches of global_batch // worker_count, all of one size. Elsewhere what `model.fit`
            takes.
        epochs, steps_per_epoch, initial_epoch, validation_steps, validation_freq, callbacks,
            verbose: as in `model.fit`. With `steps_per_epoch`, one iterator goes on over all
            epochs. Only the chief shows progress.
        validation_data: this worker's share, as for `evaluate`.

    Returns:
        Keras' History.

    Raises:
        ValueError: batches of a known size that devices cannot share evenly; on several workers, a
            model that was not built in the scope, or compiled with run_eagerly,
            steps_per_execution > 1 or gradient accumulation; arguments that differ among workers.
        WorkerLostError: see above. TypeError: on several workers, no `tf.data.Dataset`.

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
        # Keras' own stumbles over batches that devices cannot share evenly.
        validation = _Validation(model, validation_data, validation_steps, validation_freq)
        # First of all, so that the others have its logs.
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
    # The order is the dataset's own.
    return model.fit(dataset, shuffle=False, **arguments)


def evaluate(model: Any, dataset: Any, *, steps: int | None = None) -> dict[str, float]:
    """The loss and metrics of a compiled model over the data of all workers, exactly.

    Workers may have different numbers of batches, and batches may be of any size.

    Args:
        model: compiled; on several workers all of them call this.
        dataset: this worker's share of the data.
        steps: how many batches to take, default all.

    Returns:
        dict of floats, the same on all workers.

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
    """(dataset, steps, callbacks) -> metrics; compiled once, if it is not Keras' own."""
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
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    made = current()
    wanted = made.strategy if made is not None and made.name == "multi_worker" else None
    if wanted is not None and model.distribute_strategy is not wanted:
        raise ValueError(
            f"expected a model made in the scope of multi_worker, received {model.name}, which "
            "each worker would train alone: build and compile it in `with d.scope():`"
        )
    return isinstance(model.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy)


def _mirrored(model: Any) -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return isinstance(model.distribute_strategy, tf.distribute.MirroredStrategy)


def _check(model: Any) -> None:
    if getattr(model, "optimizer", None) is None:
        raise ValueError(f"expected a compiled model, received {model.name}: call model.compile")
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    for what, wanted, found in (
        ("run_eagerly", False, model.run_eagerly),
        ("steps_per_execution", 1, model.steps_per_execution),
        ("gradient_accumulation_steps", None, optimizer.gradient_accumulation_steps),
    ):
        if found != wanted:
            raise ValueError(f"multi_worker: expected {what}={wanted}, received {found}")


def _check_even(model: Any, dataset: Any) -> None:
    """Before Keras says it in the words of a reduction, where the batch size is known."""
    if _data_parallel() is not None:
        count = _data_parallel().device_mesh.devices.size
    else:
        count = model.distribute_strategy.num_replicas_in_sync if _mirrored(model) else 1
    for spec in keras.tree.flatten(getattr(dataset, "element_spec", ())):
        shape: Any = getattr(spec, "shape", ())
        if len(shape) and shape[0] and shape[0] % count:
            raise ValueError(
                f"dataset: expected batches that {count} devices can share evenly, received "
                f"batches of {shape[0]}"
            )


def _data_parallel() -> Any:
    if keras.backend.backend() != "jax":
        return None
    return keras.distribution.distribution()


class _Validation(keras.callbacks.Callback):
    """Validation at the end of an epoch, by `evaluate`."""

    callbacks: Any = None

    def __init__(self, model: Any, data: Any, steps: int | None, freq: int):
        super().__init__()
        self._data, self._steps, self._freq = data, steps, freq
        self._evaluate = _evaluation(model)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if (epoch + 1) % self._freq == 0 and logs is not None:
            found = self._evaluate(self._data, self._steps, self.callbacks)
            logs.update({f"val_{name}": value for name, value in found.items()})
