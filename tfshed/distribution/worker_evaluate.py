"""Evaluation on several workers: nobody waits for anybody until all of the data is seen.

Each replica counts its own share of the data in its own part of the metrics. They are added up
once, at the end, so workers may have different numbers of batches, and batches of any size.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Any

import keras

from tfshed.attach.keras3.private import build_by_shapes
from tfshed.attach.weak_table import WeakTable
from tfshed.observe.journal import flat

# Made once for each model, and gone with it.
_EVALUATIONS: WeakTable[tuple[Any, WorkerEvaluation]] = WeakTable()


class WorkerEvaluation:
    """`model.evaluate` on all workers of a strategy; compiled once.

    Args:
        model: compiled and built in the strategy's scope.
    """

    def __init__(self, model: Any):
        import tensorflow as tf

        # The table of evaluations must not keep models alive.
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
        assert model is not None  # whoever evaluates it holds it
        return model

    def run(self, dataset: Any, steps: int | None, callbacks: Any = None) -> dict[str, float]:
        """The metrics over the data of all workers; all of them must call it.

        Args:
            dataset: yields this worker's batches; may be empty.
            steps: how many to take at most, default all.
            callbacks: a `keras.callbacks.CallbackList`; the logs of its batches are of this
                worker's first replica, since workers may be at different ones.
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
    """The evaluation of a model, made once for each time that it is compiled."""
    # Compiling again gives a model another tracker of its loss.
    made = _EVALUATIONS.get(model)
    if made is None or made[0] is not model.metrics[0]:
        made = (model.metrics[0], WorkerEvaluation(model))
        _EVALUATIONS[model] = made
    return made[1]


def floats(found: dict[str, Any]) -> dict[str, float]:
    """Metrics as Keras nests them, as one dict of floats."""
    return {name: float(value) for name, value in flat(found).items()}


def build(model: Any, dataset: Any) -> None:
    """Makes all variables of model, metrics and optimizer, from the data's shapes alone.

    Making a variable is a collective: all workers have to, even one that has no batch.
    """
    import tensorflow as tf

    spec = getattr(dataset, "element_spec", None)
    if not isinstance(dataset, tf.data.Dataset):
        raise TypeError(
            "dataset: expected a tf.data.Dataset of this worker's batches, received "
            f"{type(dataset).__name__}"
        )
    symbolic = tf.nest.map_structure(
        lambda s: keras.KerasTensor(tuple(s.shape), s.dtype.name), spec
    )
    with model.distribute_strategy.scope():
        # What Keras' own `fit` calls, too: there with a batch of all workers, and fails.
        build_by_shapes(model, symbolic)


def per_replica(strategy: Any, batch: Any, exact: bool = False) -> Any:
    """A worker's batch, split among its replicas.

    Args:
        exact: whether all of them have to get the same number of examples.

    Raises:
        ValueError: if they cannot.
    """
    count = len(strategy.extended.worker_devices)
    if count == 1:
        return batch
    size = int(keras.tree.flatten(batch)[0].shape[0])
    if exact and size % count:
        raise ValueError(
            f"dataset: expected batches that {count} replicas can share evenly, received one of "
            f"{size}: drop the remainder, or choose another batch size"
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
