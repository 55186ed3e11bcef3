"""What `test_data_parallel.py` runs with JAX: two virtual devices against one. Prints JSON."""

from __future__ import annotations

import json
import re

import jax
import keras
import numpy as np
import tensorflow as tf

import tfshed
from tests.nets import data, group
from tfshed import distribution
from tfshed.attach.keras3.optimizer import pruning_optimizer
from tfshed.attach.keras3.wrapping import ensure_pruning
from tfshed.core.backend import to_numpy


def trained(prune=True):
    keras.utils.set_random_seed(0)
    net = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(3)]
    )
    if prune:
        schedule = tfshed.ExponentialDecay(0.6, time_constant=2, end_step=8, frequency=2)
        net = tfshed.prune_low_magnitude(net, schedule, scope="global", threshold=0.01)
    net.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse", metrics=["mae"])
    return net


def collectives(model, batch):
    """In the compiled step, all of its branches together."""
    if pruning_optimizer(model.optimizer) is None:
        model.optimizer.build(model.trainable_variables)
    state = tuple(
        [v.value for v in variables]
        for variables in (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )
    )
    layout = keras.distribution.distribution().get_data_layout
    shared = tuple(jax.device_put(part, layout(part.shape).backend_layout) for part in batch)
    text = jax.jit(model.train_step).lower(state, shared).compile().as_text()
    names = r" (all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute)(?:-start)?\("
    return len(re.findall(names, text)), "num_partitions=2" in text


def run():
    x, y = data(64)
    batches = tf.data.Dataset.from_tensor_slices((x, y)).repeat().batch(16)
    # 8, 8 and 7: the last one does not divide.
    uneven = tf.data.Dataset.from_tensor_slices((x[:23], y[:23])).batch(8)
    model = trained()
    history = distribution.fit(
        model,
        batches,
        epochs=2,
        steps_per_epoch=4,
        validation_data=uneven,
        callbacks=[tfshed.UpdatePruningStep(), tfshed.KeepRatio()],
    )
    kept = group(model)
    return model, {
        "weights": [to_numpy(v).tolist() for v in model.variables],
        "masks": [to_numpy(v).tolist() for v in kept.masks],
        "threshold": to_numpy(kept.threshold).tolist(),
        "counts": to_numpy(kept.counts).tolist(),
        "history": history.history,
        "evaluate": distribution.evaluate(model, uneven),
    }


def main():
    first = distribution.setup("one_device", virtual_devices=2)
    _, alone = run()
    d = distribution.setup("data_parallel")
    model, both = run()
    batch = tuple(part[:16] for part in data(64))
    dense, dense_shared = collectives(trained(prune=False), batch)
    model = trained()
    ensure_pruning(model)
    pruned, pruned_shared = collectives(model, batch)
    sharding = model.trainable_variables[0].value.sharding
    said = ""
    try:
        distribution.setup("data_parallel", virtual_devices=3)
    except RuntimeError as error:
        said = str(error)
    facts = {
        "replicas": [first.replicas, d.replicas],
        "collectives": [pruned, dense],
        "shared": [pruned_shared, dense_shared, len(sharding.device_set)],
        "too_late": said,
    }
    print(json.dumps({"alone": alone, "both": both, **facts}, default=np.ndarray.tolist))


if __name__ == "__main__":
    main()
