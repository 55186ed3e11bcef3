"""Small tf_keras nets, and looks at what pruning made of them."""

from __future__ import annotations

import numpy as np

import tfshed
from tfshed import tfmot
from tfshed.attach.tf_keras.real import sparsity as real
from tfshed.attach.tf_keras.real import tf_keras
from tfshed.attach.tf_keras.wrapped import wrappers_of

__all__ = ["Zeros", "data", "fit", "keep", "kernels", "net", "prune", "real", "schedule"]

L = tf_keras.layers
prune = tfshed.prune_low_magnitude


def data(*shape, n=64, out=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, *(shape or (6,)))).astype("float32")
    return x, rng.normal(size=(n, out)).astype("float32")


def net(dtype=None):
    """Two kernels, 96 and 48 weights."""
    return tf_keras.Sequential(
        [
            L.Dense(16, "relu", input_shape=(6,), name="a"),
            L.BatchNormalization(name="norm"),
            L.Dense(3, name="b", dtype=dtype),
        ]
    )


def schedule():
    """To a quarter in eight steps."""
    return tfshed.LinearDecay(0.75, end_step=8, frequency=2)


def kernels(model):
    return [w.numpy() for wrapper in wrappers_of(model) for w, _, _ in wrapper.pruning_vars]


def keep(model):
    weights = kernels(model)
    return sum(np.count_nonzero(w) for w in weights) / sum(w.size for w in weights)


class Zeros(tf_keras.callbacks.Callback):
    """Looks after every batch: exact zeros under every mask."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def on_train_batch_end(self, batch, logs=None):
        check_zeros(self.model)
        self.kept.append(keep(self.model))


def check_zeros(model):
    for wrapper in wrappers_of(model):
        expand = wrapper.config.granularity.expand
        for kernel, state in zip(wrapper.chosen_kernels(), wrapper.state):
            weight = kernel.variable.numpy()
            mask = np.asarray(expand(state.mask.numpy(), weight.shape, kernel.axes))
            assert not weight[~mask].any()


def fit(model, x=None, y=None, optimizer=None, epochs=3, callbacks=None, **options):
    """Trains in 4 steps an epoch; returns the keep-ratio after each step."""
    if optimizer is not False:
        model.compile(
            optimizer or tf_keras.optimizers.SGD(0.02, momentum=0.9),
            tf_keras.losses.MeanSquaredError(),
            **options,
        )
    x, y = data() if x is None else (x, data()[1] if y is None else y)
    zeros = Zeros()
    # Before the callback that prunes: its place does not matter.
    every = [zeros, *([tfmot.UpdatePruningStep()] if callbacks is None else callbacks)]
    model.fit(x, y, batch_size=16, shuffle=False, epochs=epochs, verbose=0, callbacks=every)
    return zeros.kept
