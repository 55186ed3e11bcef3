"""Evaluates a model on several workers, which do not wait for each other before the end.

Each replica adds its own share of the data to its own copy of the metrics. The copies are summed
once, at the end. So workers may have different numbers of batches, and batches may have any size.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Any

import keras

from tfshed.attach.keras3.private import build_by_shapes
from tfshed.attach.weak_table import WeakTable
from tfshed.observe.journal import flat

# The evaluation of each model, which is compiled once. Entries are removed with their models.
_EVALUATIONS: WeakTable[tuple[Any, WorkerEvaluation]] = WeakTable()


class WorkerEvaluation:
    """Does what `model.evaluate` does, on all workers of a strategy; it is compiled once.

    Args:
        model: A model that was built and compiled in the strategy's scope.
    """

    def __init__(self, model: Any):
        import tensorflow as tf

        # The reference is weak, so that the table of evaluations does not keep models in memory.
        self._model = weakref.ref(model)
        strategy = model.distribute_strategy

        @tf.function(reduce_retracing=True)
        def step(data: Any) -> Any:
            logs = strategy.run(self._live_model().test_step, (data,))
            return keras.tree.map_structure(
                lambda x: strategy.experimental_local_results(x)[0], logs
            )

        self._step = step

    def _live_model(self) -> Any:
        model = self._model()
        assert model is not None  # the caller of `run` holds the model
        return model

    def run(self, dataset: Any, steps: int | None, callbacks: Any = None) -> dict[str, float]:
        """Returns the metrics over the data of all workers, all of which must call it.

        Args:
            dataset: This worker's batches. There may be none.
            steps: The largest number of batches to use; None for all.
            callbacks: A `keras.callbacks.CallbackList`. The logs it gets for a batch are those of
                this worker's first replica, since workers may be at different batches.
        """
        model = self._live_model()
        strategy = model.distribute_strategy
        if callbacks is None:
            callbacks = keras.callbacks.CallbackList(model=model)
        callbacks.on_test_begin()
        model.reset_metrics()
        for number, batch in enumerate(itertools.islice(dataset, steps)):
            callbacks.on_test_batch_begin(number)
            logs = self._step(per_replica(strategy, batch))
            callbacks.on_test_batch_end(number, logs)
        found = floats(model.get_metrics_result())
        callbacks.on_test_end(found)
        return found


def evaluation_of(model: Any) -> WorkerEvaluation:
    """Returns the evaluation of a model, which is made once after each `model.compile`."""
    # `model.compile` makes a new tracker of the loss, by which it is noticed.
    made = _EVALUATIONS.get(model)
    if made is None or made[0] is not model.metrics[0]:
        made = (model.metrics[0], WorkerEvaluation(model))
        _EVALUATIONS[model] = made
    return made[1]


def floats(found: dict[str, Any]) -> dict[str, float]:
    """Returns metrics, which Keras may nest, as one dict of floats."""
    return {name: float(value) for name, value in flat(found).items()}


def build(model: Any, dataset: Any) -> None:
    """Makes all variables of model, metrics and optimizer, from the shapes of the data alone.

    All workers must make their variables together, even a worker that has no batch.
    """
    import tensorflow as tf

    spec = getattr(dataset, "element_spec", None)
    if not isinstance(dataset, tf.data.Dataset):
        raise TypeError(
            "dataset: expected a tf.data.Dataset of this worker's batches, received "
            f"{type(dataset).__name__}. Convert it with tf.data.Dataset.from_tensor_slices or "
            "from_generator."
        )
    symbolic = tf.nest.map_structure(
        lambda s: keras.KerasTensor(tuple(s.shape), s.dtype.name), spec
    )
    with model.distribute_strategy.scope():
        # Keras' own `fit` calls the same function with a batch of all workers, which fails.
        build_by_shapes(model, symbolic)


def per_replica(strategy: Any, batch: Any, exact: bool = False) -> Any:
    """Splits a worker's batch among its replicas.

    Args:
        strategy: The strategy of the run.
        batch: A structure of tensors.
        exact: Whether all replicas must get the same number of examples. Default False.

    Raises:
        ValueError: They cannot get the same number.
    """
    count = len(strategy.extended.worker_devices)
    if count == 1:
        return batch
    size = int(keras.tree.flatten(batch)[0].shape[0])
    if exact and size % count:
        raise ValueError(
            f"dataset: expected batches that {count} replicas can share evenly, received one of "
            f"{size}. Drop the remainder, or choose another batch size."
        )
    ends = [(i * size) // count for i in range(count + 1)]

    def share(i: int) -> Any:
        return keras.tree.map_structure(lambda x: x[ends[i] : ends[i + 1]], batch)

    shares = [share(i) for i in range(count)]
    leaves = zip(*(keras.tree.flatten(s) for s in shares))
    return keras.tree.pack_sequence_as(
        batch,
        [
            strategy.experimental_distribute_values_from_function(
                lambda context, leaf=leaf: leaf[context.replica_id_in_sync_group % count]
            )
            for leaf in leaves
        ],
    )
