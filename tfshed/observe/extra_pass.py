"""What needs passes over examples of its own: the gradient's norm, and the lag of BatchNorm."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from tfshed.core.backend import to_numpy


def gradient_norm(model: Any, x: Any, y: Any) -> float:
    """The L2 norm of the gradient of the loss with respect to all trainable variables.

    The model is called as in inference, so that no state of it changes. The loss is the compiled
    one with the regularisation losses of the layers.

    Args:
        model: Compiled and built.
        x, y: Arrays of examples.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = _loss(model, x, y, model(x, training=False))
        variables = [v.value for v in model.trainable_variables]
        gradients = [g for g in tape.gradient(loss, variables) if g is not None]
    elif backend == "jax":
        import jax

        fixed = [v.value for v in model.non_trainable_variables]

        def loss_of(values: Any) -> Any:
            outputs, _, losses = model.stateless_call(
                values, fixed, x, training=False, return_losses=True
            )
            return model.compute_loss(x, y, outputs, training=False) + sum(losses)

        gradients = jax.grad(loss_of)([v.value for v in model.trainable_variables])
    else:
        import torch

        # Not `backward`, which would leave gradients where a step accumulates them.
        training = model.training
        loss = _loss(model, x, y, model(ops.convert_to_tensor(x), training=False))
        variables = [v.value for v in model.trainable_variables]
        found = torch.autograd.grad(loss, variables, allow_unused=True)
        gradients = [g.detach() for g in found if g is not None]
        model.train(training)
    squares = [ops.sum(ops.square(ops.cast(g, "float32"))) for g in gradients]
    return float(np.sqrt(to_numpy(ops.stack(squares)).astype(np.float64).sum()))


def _loss(model: Any, x: Any, y: Any, outputs: Any) -> Any:
    return model.compute_loss(x, ops.convert_to_tensor(y), outputs, training=False)


def batch_norm_lag(model: Any, x: Any, y: Any) -> float:
    """Accuracy with the statistics of this batch minus accuracy with the running ones.

    Running statistics are averages over many steps. Where weights change fast they are those of a
    net that is gone: the net then looks worse in evaluation than it is. All state that the call
    changes (running statistics, seeds of dropout) is put back.

    Args:
        model: A classifier whose outputs have a score for each class along the last axis.
        x: Arrays of examples.
        y: Their classes as whole numbers, or one-hot.
    """
    state = [np.array(to_numpy(v)) for v in model.non_trainable_variables]
    training = getattr(model, "training", None)
    try:
        with_batch = to_numpy(model(x, training=True))
    finally:
        for variable, value in zip(model.non_trainable_variables, state):
            variable.assign(value)
    running = to_numpy(model(x, training=False))
    if isinstance(training, bool):
        model.train(training)
    wanted = np.asarray(y)
    if wanted.ndim == with_batch.ndim and wanted.shape[-1] > 1:
        wanted = wanted.argmax(axis=-1)
    wanted = wanted.reshape(with_batch.shape[:-1])
    right = [float(np.mean(scores.argmax(axis=-1) == wanted)) for scores in (with_batch, running)]
    return right[0] - right[1]
