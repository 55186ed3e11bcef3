"""Models of `tf.distribute` strategies that have several copies of each variable."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tfshed.attach.keras3.private import backend_value, put_backend_value

logger = logging.getLogger("tfshed")


def has_replicas(variable: Any) -> bool:
    """Whether a `tf.Variable` has a copy on each of several devices."""
    import tensorflow as tf

    return isinstance(variable, tf.distribute.DistributedValues)


@contextmanager
def one_replica(model: Any) -> Iterator[None]:
    """Within the block, the variables of a Keras 3 model are ordinary ones on one device.

    Only ordinary variables can be packed. Each has the value of the first replica, which is the one
    that the model computes with when it is called outside of `strategy.run`. After the block the
    model has its own variables again, and what was written within the block is lost.

    The variables of a tf_keras model cannot be replaced, since its layers hold them directly. They
    stay as they are, and a warning says so.
    """
    import keras
    import tensorflow as tf

    if not isinstance(model, keras.Model):
        if any(has_replicas(variable) for variable in model.variables):
            logger.warning(
                "export: %r has several replicas of its variables, which are therefore written in "
                "full, zeros included. For a small file, load its weights into a model that was "
                "made outside of the strategy's scope, and export that model.",
                model.name,
            )
        yield
        return
    # On JAX the backend's value is an array, which never has replicas.
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
