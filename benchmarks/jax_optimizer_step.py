"""Time of the optimizer's step alone on JAX, pruned over unpruned.

    KERAS_BACKEND=jax python benchmarks/jax_optimizer_step.py [--rounds 100]

A dense net of 2.1 million weights, SGD with momentum, state donated as in `fit`. Arms: no pruning;
pruning (global magnitude, shed in every step) without an update; an update in every step. The arms
run in turns in one process. Prints the least time of each arm, its lower quartile, and the ratio of
the lower quartiles. Run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np

import tfshed

ARMS = {"not pruned": None, "no update": 10**5, "update in every step": 1}


def arm(frequency: int | None) -> list:
    """The compiled step with the state it begins with: [step, optimizer state, weights, grads]."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(width, activation="relu") for width in (1024, 1024)]
    model = keras.Sequential([keras.Input((1024,)), *layers, keras.layers.Dense(10)])
    optimizer = keras.optimizers.SGD(1e-3, momentum=0.9)
    if frequency is not None:
        schedule = tfshed.ExponentialDecay(0.85, 1000, end_step=10**6, frequency=frequency)
        model = tfshed.prune_low_magnitude(model, schedule)
        optimizer = tfshed.PruningOptimizer(optimizer, model)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    rng = np.random.default_rng(0)
    model.train_on_batch(rng.random((32, 1024), "float32"), np.zeros(32, "int32"))
    optimizer = model.optimizer
    weights = [v.value for v in model.trainable_variables]
    grads = [jax.numpy.asarray(1e-3 * rng.standard_normal(w.shape, "float32")) for w in weights]

    def step(state, weights, grads):
        weights, state = optimizer.stateless_apply(state, grads, weights)
        return state, weights

    return [
        jax.jit(step, donate_argnums=(0, 1)),
        [v.value for v in optimizer.variables],
        weights,
        grads,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    args = parser.parse_args()
    arms = {name: arm(frequency) for name, frequency in ARMS.items()}
    milliseconds: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(args.rounds + 1):
        for name, made in arms.items():
            start = time.perf_counter()
            for _ in range(3):
                made[1], made[2] = made[0](made[1], made[2], made[3])
                jax.block_until_ready(made[2])
            if turn:  # the first round compiles
                milliseconds[name].append((time.perf_counter() - start) / 3 * 1e3)
    print(f"{'':24}{'least ms':>10}{'quartile':>10}{'ratio':>8}")
    base = np.percentile(milliseconds["not pruned"], 25)
    for name, times in milliseconds.items():
        quartile = np.percentile(times, 25)
        print(f"{name:24}{min(times):10.2f}{quartile:10.2f}{quartile / base:8.2f}")


if __name__ == "__main__":
    main()
