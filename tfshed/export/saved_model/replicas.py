"""Models of `tf.distribute` strategies that keep several copies of each variable."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tfshed.attach.keras3.private import backend_value, put_backend_value

logger = logging.getLogger("tfshed")


def has_replicas(variable: Any) -> bool:
    """Whether a `tf.Variable` stands for several."""
    import tensorflow as tf

    return isinstance(variable, tf.distribute.DistributedValues)


@contextmanager
def one_replica(model: Any) -> Iterator[None]:
    """Within the block the variables of a Keras 3 model are ordinary ones on one device.

    Each has the value that the model, called outside `strategy.run`, computes with: the first
    replica's. Only such variables can be packed. Afterwards the model has its own again; what
    the block writes is gone.

    Those of tf_keras, which layers hold themselves, stay as they are; a warning says so.
    """
    import keras
    import tensorflow as tf

    if not isinstance(model, keras.Model):
        if any(has_replicas(variable) for variable in model.variables):
            logger.warning(
                "export: %r has several replicas of its variables, which are written in full, "
                "zeros and all. For a small file load its weights into a model made outside the "
                "strategy's scope and export that.",
                model.name,
            )
        yield
        return
    # On JAX a value is an array and never one of these.
    held = [(variable, backend_value(variable)) for variable in model.variables]
    held = [(variable, value) for variable, value in held if has_replicas(value)]
    try:
        for variable, value in held:
            single = tf.Variable(
                tf.convert_to_tensor(value), trainable=value.trainable, name=variable.path
            )
            put_backend_value(variable, single)
        yield
    finally:
        for variable, value in held:
            put_backend_value(variable, value)
