"""Small nets and data to train, and looks at what pruning made of them."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

import tfshed
from tfshed.attach.keras3.optimizer import pruning_optimizer
from tfshed.core.backend import to_numpy

BACKEND = keras.backend.backend()
KERAS = tuple(int(number) for number in keras.__version__.split(".")[:2])
# The ways to run a step. Most tests take the first one: XLA takes seconds to compile.
JIT = {"tensorflow": (False, True), "jax": (True,), "torch": (False,)}[BACKEND]


def data(n=64, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 6)).astype("float32")
    return x, (x @ rng.normal(size=(6, 3))).astype("float32")


def net(dtype=None, hidden=8, seed=0, **options):
    """A Sequential of two pruned kernels, 48 and 24 weights."""
    keras.utils.set_random_seed(seed)
    layers = [
        keras.Input((6,)),
        keras.layers.Dense(hidden, activation="relu", name="hidden", dtype=dtype, **options),
        keras.layers.Dense(3, name="head", dtype=dtype, **options),
    ]
    return keras.Sequential(layers, name="net")


def schedule(final=0.75, end=6, frequency=2):
    return tfshed.LinearDecay(final, end_step=end, frequency=frequency)


def pruned(optimizer, dtype=None, final=0.75, jit=None, net_options=None, fit=None, **options):
    """A compiled model that is to be pruned to `final` within 6 steps."""
    model = tfshed.prune_low_magnitude(
        net(dtype, **(net_options or {})), schedule(final), scope="global", **options
    )
    jit = JIT[0] if jit is None else jit
    # An object: Keras cannot read the name of a loss from an HDF5 file.
    model.compile(optimizer, keras.losses.MeanSquaredError(), jit_compile=jit, **(fit or {}))
    return model


def kernels(model):
    """The values of all kernels, in float32."""
    return [
        to_numpy(keras.ops.cast(v.value, "float32"))
        for v in model.trainable_variables
        if v.name == "kernel"
    ]


def group(model):
    return pruning_optimizer(model.optimizer).groups[0]


def keep_ratio(model):
    weights = kernels(model)
    return sum(np.count_nonzero(w) for w in weights) / sum(w.size for w in weights)


def check_zeros(model, kept=None):
    """Every weight under a mask is exactly zero; of the 72 weights so many are kept."""
    masks = [to_numpy(m) for m in group(model).masks]
    for w, mask in zip(kernels(model), masks):
        assert not w[~mask].any()
    if kept is not None:
        assert sum(int(m.sum()) for m in masks) == kept


class ZerosAfterEveryStep(keras.callbacks.Callback):
    """Looks at the live weights after every batch, on JAX in the trainer's state."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def on_train_batch_end(self, batch, logs=None):
        # On JAX the variables are empty while an epoch runs: this brings them back.
        if BACKEND == "jax":
            self.model.jax_state_sync()
        check_zeros(self.model)
        self.kept.append(sum(int(np.count_nonzero(w)) for w in kernels(self.model)))


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def array(x) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(x))


def kept(variable) -> float:
    return np.count_nonzero(array(variable)) / int(np.prod(variable.shape))
