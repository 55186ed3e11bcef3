"""One worker of a run that `test_workers.py` starts: python worker.py FOLDER SCENARIO...

Each scenario leaves `<scenario>.<worker>.npz` and `.json` in the folder.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import tfshed
from tests.nets import data, group
from tfshed import distribution
from tfshed.attach.keras3.wrapping import ensure_pruning
from tfshed.core.backend import to_numpy
from tfshed.distribution import worker_loop

START = time.time()
BATCH, STEPS, EPOCHS = 16, 4, 2
# Seconds without a heartbeat until a worker counts as lost.
SILENCE = 10


def share(d, n=64, skip=0):
    """This worker's rows of each global batch."""
    index, count = d.shard
    size = BATCH // count

    def rows(*batch):
        return tuple(part[index * size : (index + 1) * size] for part in batch)

    whole = tf.data.Dataset.from_tensor_slices(data(n)).repeat().batch(BATCH)
    return whole.skip(skip).map(rows)


def uneven(d, n=23):
    """Other numbers of batches for each worker, with a small one at the end; 23 rows in all."""
    x, y = data(n)
    rows = slice(None) if d.worker_count == 1 else (slice(0, 19), slice(19, n))[d.worker_index]
    return tf.data.Dataset.from_tensor_slices((x[rows], y[rows])).batch(8)


def model_of(d, optimizer, normalise=False, pruned=True):
    keras.utils.set_random_seed(0)
    with d.scope():
        layers = [keras.Input((6,)), keras.layers.Dense(8, kernel_regularizer="l2")]
        if normalise:
            layers += [keras.layers.BatchNormalization(), keras.layers.Dropout(0.1)]
        net = keras.Sequential([*layers, keras.layers.ReLU(), keras.layers.Dense(3)])
        if pruned:
            net = tfshed.prune_low_magnitude(
                net,
                tfshed.ExponentialDecay(0.6, time_constant=2, end_step=8, frequency=2),
                scope="global",
                threshold=0.01,
            )
        net.compile(optimizer(), "mse", metrics=["mae"], jit_compile=False)
    return net


def sgd():
    return keras.optimizers.SGD(0.01, momentum=0.9)


def adam():
    return keras.optimizers.Adam(0.01)


def fit(model, d, callbacks=(), **options):
    options = {"epochs": EPOCHS, "steps_per_epoch": STEPS, **options}
    batches = options.pop("batches", None) or share(d)
    callbacks = [tfshed.UpdatePruningStep(), *callbacks]
    return distribution.fit(model, batches, callbacks=callbacks, **options)


def state(model):
    """All that has to be the same on every worker; no metrics, which only all can read."""
    kept = group(model)
    return {
        **{f"weight_{i}": to_numpy(v) for i, v in enumerate(model.variables)},
        **{f"mask_{i}": to_numpy(v) for i, v in enumerate(kept.masks)},
        "threshold": to_numpy(kept.threshold),
        "counts": to_numpy(kept.counts),
        **{f"optimizer_{i}": to_numpy(v) for i, v in enumerate(model.optimizer.variables)},
    }


class Save(keras.callbacks.Callback):
    """The chief saves at the end of an epoch, alone."""

    def __init__(self, path, d):
        super().__init__()
        self.path, self.d = path, d

    def on_epoch_end(self, epoch, logs=None):
        if self.d.is_chief:
            beside = self.path.with_name("new.keras")
            self.model.save(beside)
            self.path.with_name("epoch.json").write_text(json.dumps(epoch + 1))
            os.replace(beside, self.path)


class At(keras.callbacks.Callback):
    """Does something at a batch of an epoch."""

    def __init__(self, epoch, batch, what):
        super().__init__()
        self.at, self.what, self.epoch = (epoch, batch), what, 0
        self.batches = []

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append((self.epoch, batch))
        if (self.epoch, batch) == self.at:
            self.what(self)


def plain(d, folder):
    model = model_of(d, sgd)
    keep = tfshed.KeepRatio(folder / "keep" if d.is_chief else None, plot=False, tensorboard=False)
    history = fit(model, d, [keep], validation_data=uneven(d), validation_freq=2)
    found = distribution.evaluate(model, uneven(d))
    rows = [[r["step"], r["target"], r["actual"]] for r in keep.history]
    return state(model), {"history": history.history, "evaluate": found, "rows": rows}


def batchnorm(d, folder):
    model = model_of(d, adam, normalise=True)
    fit(model, d, [Save(folder / "batchnorm.keras", d)])
    return state(model), {}


def overflow(d, folder):
    """Worker 1 alone meets numbers that float16 cannot hold, in step 2 of 4."""
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    model = model_of(d, sgd)
    keras.mixed_precision.set_dtype_policy("float32")
    bad = d.worker_index == 1

    def spoil(i, batch):
        x, y = batch
        return tf.where(tf.logical_and(bad, i == 1), 6e4, x), y

    fit(model, d, epochs=1, batches=share(d).enumerate().map(spoil))
    scale = float(to_numpy(model.optimizer.dynamic_scale))
    return state(model), {"scale": scale, "steps": int(to_numpy(model.optimizer.iterations))}


def collectives(d, folder):
    """How many collective operations there are in a step, all of its functions together."""
    count = {}
    for pruned in (True, False):
        model = model_of(d, sgd, pruned=pruned)
        if pruned:
            ensure_pruning(model)
        batch = next(iter(share(d)))
        step = worker_loop.train_function(model).function
        graph = step.get_concrete_function(batch, tf.zeros(2)).graph.as_graph_def()
        nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
        count["pruned" if pruned else "dense"] = sum(n.op.startswith("Collective") for n in nodes)
    return {}, count


def ends(d, folder):
    """The data of worker 1 ends first; then it is asked to stop there; then it has no data."""
    model = model_of(d, sgd)
    seen = At(0, 0, lambda _: None)
    batches = share(d).take(3 - d.worker_index)
    short = fit(model, d, [seen], batches=batches, epochs=1, steps_per_epoch=None)

    def stop(callback):
        callback.model.stop_training = d.worker_index == 1

    fit(model, d, [stopped := At(0, 0, stop)])
    nothing = share(d).take(1 - d.worker_index)
    found = distribution.evaluate(model, nothing)
    return state(model), {
        "short": seen.batches,
        "stopped": stopped.batches,
        "loss": short.history["loss"],
        "evaluate": found,
    }


def wrong(d, folder):
    """What is not the same everywhere is an error everywhere."""
    said = {}
    model = model_of(d, sgd)
    try:
        fit(model, d, epochs=1 + d.worker_index)
    except ValueError as error:
        said["epochs"] = str(error)
    alone = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    alone.compile("sgd", "mse", jit_compile=False)
    try:
        distribution.fit(alone, share(d), epochs=1, steps_per_epoch=1)
    except ValueError as error:
        said["scope"] = str(error)
    return {}, said


def train(d, folder):
    """Goes on from the chief's checkpoint, if there is one; worker 1 may be killed on the way."""
    path, first = folder / "train.keras", 0
    if path.exists():
        first = json.loads(path.with_name("epoch.json").read_text())
        with d.scope():
            model = keras.saving.load_model(path)
    else:
        model = model_of(d, sgd)

    def kill(callback):
        (folder / "killed").write_text(str(time.time()))
        os.kill(os.getpid(), signal.SIGKILL)

    fatal = [At(1, 1, kill)] if d.worker_index == 1 and not (folder / "killed").exists() else []
    batches = share(d, skip=first * STEPS)
    history = fit(model, d, [Save(path, d), *fatal], batches=batches, initial_epoch=first)
    return state(model), {"history": history.history, "first": first}


def terminate(d, folder):
    """TensorFlow takes this signal for itself; a worker has to end at it all the same."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(10)
    return {}, {}


def main(folder, names):
    d = distribution.setup("multi_worker", timeout_seconds=SILENCE)
    for name in names:
        arrays, facts = globals()[name](d, folder)
        np.savez(folder / f"{name}.{d.worker_index}.npz", **arrays)
        facts |= {"replicas": d.replicas, "chief": d.is_chief}
        (folder / f"{name}.{d.worker_index}.json").write_text(json.dumps(facts))
        print(name, "done", round(time.time() - START, 1), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
