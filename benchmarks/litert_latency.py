"""Compares the latency of sparse LiteRT files with dense ones of the same dtype, by batch size.

    python benchmarks/litert_latency.py [threads]

A ratio below 1 means that the sparse file is faster. Each ratio is that of the shortest of many
runs, which are made by turns. ai-edge-litert is used if it is installed, otherwise TensorFlow's
older interpreter.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

import tfshed
from tfshed.export.litert.interpreter import interpreter

BATCHES = (1, 2, 4, 8, 16, 32, 64)
SECONDS = 0.6  # seconds for each pair of files and each batch size
SPARSITY = 0.85


def mlp(granularity, width: int = 1024):
    """A network of dense layers, pruned except for the last one."""
    layers = [keras.layers.Dense(width, activation="relu", name=f"hidden{i}") for i in range(3)]
    net = keras.Sequential([keras.Input((width,)), *layers, keras.layers.Dense(10)])
    return tfshed.sparsify(net, SPARSITY, select="hidden", granularity=granularity, scope="layer")


def pointwise():
    """A net that meets XNNPACK's conditions for sparse 1x1 convolutions, processor aside."""
    inputs = keras.Input((64, 64, 3))
    x = keras.layers.ZeroPadding2D(1)(inputs)
    x = keras.layers.Conv2D(32, 3, strides=2, activation="relu")(x)
    for width in (64, 128, 128):
        x = keras.layers.Conv2D(width, 1, activation="relu")(x)
        x = keras.layers.DepthwiseConv2D(3, padding="same", activation="relu")(x)
    x = keras.layers.Conv2D(256, 1, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    # XNNPACK can load this because export.litert inserts a RESHAPE before the last convolution.
    net = keras.Model(inputs, keras.layers.Conv2D(10, 1)(x))
    policy = tfshed.PruneForLatencyOnXNNPack()
    policy.ensure_model_supports_pruning(net)
    return tfshed.sparsify(net, SPARSITY, select=lambda layer, _: policy.allow_pruning(layer))


def runner(file, batch: int, threads: int):
    """Returns a function that runs a file once on random inputs."""
    made = interpreter(Path(file).read_bytes(), threads)
    found = made.get_input_details()[0]
    made.resize_tensor_input(found["index"], (batch, *found["shape"][1:]))
    made.allocate_tensors()
    random = np.random.default_rng(0).standard_normal((batch, *found["shape"][1:]))
    made.set_tensor(found["index"], random.astype("float32"))
    return made.invoke


def ratio(files, batch: int, threads: int) -> float:
    """The time of the second file relative to that of the first."""
    runs = [runner(file, batch, threads) for file in files]
    for run in runs:
        run()
    best = [float("inf")] * len(runs)
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        for i, run in enumerate(runs):
            start = time.perf_counter()
            run()
            best[i] = min(best[i], time.perf_counter() - start)
    return best[1] / best[0]


def main() -> None:
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    random = np.random.default_rng(0)
    batches = [random.standard_normal((16, 1024)).astype("float32") for _ in range(4)]
    arms = {
        "MLP, 4x1 blocks, float32": (lambda: mlp(tfshed.Block(4, 1)), {}),
        "MLP, single weights, float32": (lambda: mlp(None), {}),
        "MLP, 4x1 blocks, int8 weights": (lambda: mlp(tfshed.Block(4, 1)), {"values": "int8"}),
        "MLP, 16x1 blocks, int8 weights": (lambda: mlp(tfshed.Block(16, 1)), {"values": "int8"}),
        "MLP, 16x1 blocks, full int8": (
            lambda: mlp(tfshed.Block(16, 1)),
            {"values": "int8", "representative_data": batches},
        ),
        "1x1 convolutions, float32": (pointwise, {}),
    }
    print(f"{'sparse / dense, ' + str(threads) + ' thread(s)':32}{'bytes':>8}", end="")
    print("".join(f"{'x' + str(batch):>7}" for batch in BATCHES))
    with tempfile.TemporaryDirectory() as folder:
        for name, (make, options) in arms.items():
            model = make()
            dense, sparse = (
                tfshed.export.litert(
                    model,
                    Path(folder, f"{sparse}.tflite"),
                    sparse=sparse,
                    overwrite=True,
                    verify=False,
                    **options,
                )
                for sparse in (False, True)
            )
            print(f"{name:32}{sparse.size / dense.size:8.3f}", end="", flush=True)
            for batch in BATCHES:
                print(f"{ratio((dense, sparse), batch, threads):7.2f}", end="", flush=True)
            print()


if __name__ == "__main__":
    main()
