"""Measures how long selecting the smallest of many weights takes, beside sorting and partitioning.

    KERAS_BACKEND=tensorflow|jax|torch python benchmarks/selection.py [--weights 25500000]

All arms mark the same share of smallest magnitudes of one array. They run by turns in one process;
the table has the median of the rounds in *reads*: the unit is the time in which NumPy takes the
maximum of the array. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import pathlib
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripts"))

import keras
import numpy as np
from keras import ops

from tfshed.core.selection import smallest

BACKEND = keras.backend.backend()


def arms(keys: np.ndarray, n: int) -> dict[str, Callable[[], Any]]:
    """Returns functions that select the `n` smallest keys and wait until that is done."""
    here = ops.convert_to_tensor(keys)
    count = ops.convert_to_tensor(np.array([n], "int32"))
    if BACKEND == "tensorflow":
        import tensorflow as tf

        found: dict[str, Callable[[], Any]] = {}
        for name, jit in (("tfshed, graph", False), ("tfshed, XLA", True)):
            step = tf.function(lambda k, m: smallest([k], [0], m)[0], jit_compile=jit)
            found[name] = lambda step=step: tf.raw_ops.Shape(input=step(here, count))
        # Negative magnitudes in their order: top_k gives the largest.
        found["tf.math.top_k"] = lambda: tf.math.top_k(tf.reshape(-here, (-1,)), n, sorted=False)
    elif BACKEND == "jax":
        import jax

        step = jax.jit(lambda k, m: smallest([k], [0], m)[0])
        found = {"tfshed, XLA": lambda: step(here, count).block_until_ready()}
        sort = jax.jit(jax.numpy.sort)
        found["jax.numpy.sort"] = lambda: sort(here.ravel()).block_until_ready()
    else:
        found = {"torch.kthvalue": lambda: here.ravel().kthvalue(n)}
    found["tfshed, eager"] = lambda: ops.shape(smallest([here], [0], count)[0])
    found["np.sort"] = lambda: np.sort(keys, axis=None)
    found["np.partition"] = lambda: np.partition(keys.ravel(), n)
    return found


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Prints the table; returns the reads of each arm."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=int, default=25_500_000)
    parser.add_argument("--sparsity", type=float, default=0.85)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="*", help="the beginnings of the arms' names")
    args = parser.parse_args(argv)
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((args.weights // 1000, 1000), dtype="float32")
    keys = weights.view("int32") & np.iinfo(np.int32).max
    found = arms(keys, int(args.sparsity * weights.size))
    if args.only is not None:
        found = {k: v for k, v in found.items() if k.startswith(tuple(args.only))}
    found["read"] = lambda: np.max(weights)
    seconds: dict[str, list[float]] = {name: [] for name in found}
    for turn in range(args.rounds + 1):
        order = list(found)
        random.Random(turn).shuffle(order)
        for name in order:
            start = time.perf_counter()
            found[name]()
            if turn:  # the first round compiles
                seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"{BACKEND}, {weights.size:,} weights, {args.sparsity:.0%} smallest")
    print(f"one read: {1e3 * median['read']:.2f} ms\n{'':20}{'reads':>8}{'least':>8}")
    for name, value in median.items():
        least = min(seconds[name]) / min(seconds["read"])
        print(f"{name:20}{value / median['read']:8.1f}{least:8.1f}")
    return {name: value / median["read"] for name, value in median.items()}


if __name__ == "__main__":
    main()
