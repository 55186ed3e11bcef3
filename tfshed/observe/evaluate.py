"""Evaluates a model in the middle of an epoch."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tfshed.observe.journal import flat


def evaluate_aside(model: Any, data: Any, batch_size: Any = None, steps: Any = None) -> Any:
    """The metrics on `data`, in the middle of an epoch, whose own metrics are left as they are.

    Args:
        model: compiled, being trained.
        data: (x, y), (x, y, sample_weight), a dataset, or None.
        batch_size, steps: as in `model.evaluate`.

    Returns:
        dict of floats, names begin with "val_"; empty without data.
    """
    if data is None:
        return {}
    # `evaluate` resets them, and an epoch's metrics are means that are still being taken.
    before = [ops.convert_to_numpy(v) for v in model.metrics_variables]
    # On PyTorch the model is a module, which `evaluate` takes out of training mode.
    training = getattr(model, "training", None)
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    found = model.evaluate(
        x, y, batch_size, verbose=0, sample_weight=weight, steps=steps, return_dict=True
    )
    if isinstance(training, bool):
        model.train(training)
    for variable, value in zip(model.metrics_variables, before):
        variable.assign(value)
    return {f"val_{name}": float(value) for name, value in flat(found).items()}
