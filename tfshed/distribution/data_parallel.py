"""Evaluation under Keras' `DataParallel` on JAX, with batches of any size."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np

from tfshed.attach.keras3.private import delete_untracked, set_untracked
from tfshed.distribution.worker_evaluate import floats


class _AnyBatch(keras.distribution.DataParallel):
    """Copies a batch to every device if its size is no multiple of their number.

    JAX can split batches only evenly.
    """

    def get_data_layout(self, data_shape: Any) -> Any:
        if data_shape and data_shape[0] % self.device_mesh.devices.size == 0:
            return super().get_data_layout(data_shape)
        return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)


def evaluate(
    model: Any, dataset: Any, steps: int | None, callbacks: Any = None
) -> dict[str, float]:
    """Evaluates batch by batch, since `model.evaluate` splits all batches like the first one."""
    distribution = keras.distribution.distribution()
    callbacks = callbacks or keras.callbacks.CallbackList(model=model)
    callbacks.on_test_begin()
    model.reset_metrics()
    # `test_on_batch` calls `reset_metrics`, which would forget the batches before.
    set_untracked(model, reset_metrics=lambda: None)
    keras.distribution.set_distribution(_AnyBatch(distribution.device_mesh))
    try:
        for number, batch in enumerate(itertools.islice(dataset, steps)):
            callbacks.on_test_batch_begin(number)
            parts = keras.utils.unpack_x_y_sample_weight(_numpy(batch))
            callbacks.on_test_batch_end(number, model.test_on_batch(*parts, return_dict=True))
        found = floats(model.get_metrics_result())
    finally:
        keras.distribution.set_distribution(distribution)
        delete_untracked(model, "reset_metrics")
    callbacks.on_test_end(found)
    return found


def _numpy(batch: Any) -> Any:
    return keras.tree.map_structure(np.asarray, batch)
