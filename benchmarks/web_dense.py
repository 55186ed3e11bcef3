"""Do dense layers get faster in a browser's engine, as they are or written as 1x1 convolutions?

    python benchmarks/web_dense.py [--sparsity 0.85]

Runs in LiteRT.js under Node (`npm install` in scripts/browser), batch 1, one thread:

* the feed-forward part of a Transformer, 256 to 1024 to 256 units, twice, over sequences of 1 to 64
  places, with dense layers pruned singly and in blocks of 4 inputs, and with 1x1 convolutions over
  the places instead;
* a net for images whose 1x1 convolutions are written as dense layers over the channels, and as
  convolutions.

Prints for each the least milliseconds of the dense file and of the sparse one, their quotient, and
how many layers the table of `export.litert` says to run sparse.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np

import tfshed

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import _litert_js

L = keras.layers
PLACES = (1, 8, 64)
SIZE = 96


def feed_forward(places: int, convolution: bool):
    x = inputs = keras.Input((1, places, 256) if convolution else (places, 256))
    for number in range(2):
        for units, activation in ((1024, "relu"), (256, None)):
            name = f"pruned_{number}_{units}"
            if convolution:
                x = L.Conv2D(units, 1, activation=activation, name=name)(x)
            else:
                x = L.Dense(units, activation=activation, name=name)(x)
    return keras.Model(inputs, x)


def image_net(convolution: bool):
    inputs = keras.Input((SIZE, SIZE, 3))
    x = L.Conv2D(32, 3, strides=2, activation="relu")(L.ZeroPadding2D(1)(inputs))
    for number, (filters, strides) in enumerate(((64, 1), (128, 2), (256, 1), (512, 2), (512, 1))):
        x = L.ZeroPadding2D(1)(x)
        x = L.DepthwiseConv2D(3, strides=strides, activation="relu")(x)
        name = f"pruned_{number}"
        if convolution:
            x = L.Conv2D(filters, 1, activation="relu", name=name)(x)
        else:
            x = L.Dense(filters, activation="relu", name=name)(x)
    return keras.Model(inputs, L.Dense(10)(L.GlobalAveragePooling2D()(x)))


def nets():
    """By name: a function that makes the net, and its granularity."""
    for places in PLACES:
        yield f"{places} places, dense layers", lambda n=places: feed_forward(n, False), None
        blocks = tfshed.Block(4, 1)
        yield f"{places} places, 4x1 blocks", lambda n=places: feed_forward(n, False), blocks
        yield f"{places} places, convolutions", lambda n=places: feed_forward(n, True), None
    yield "image, dense layers", lambda: image_net(False), None
    yield "image, convolutions", lambda: image_net(True), None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sparsity", type=float, default=0.85)
    parser.add_argument("--rounds", type=int, default=100, help="timed runs of each file")
    parser.add_argument(
        "--prefix", type=shlex.split, default=[], help="a command that runs the timed process"
    )
    given = parser.parse_args()
    if _litert_js.missing():
        sys.exit(f"web_dense.py: {_litert_js.missing()}")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        files, inputs = [], []
        for name, make, granularity in nets():
            keras.utils.set_random_seed(0)
            model = tfshed.sparsify(
                make(), given.sparsity, select="pruned", scope="layer", granularity=granularity
            )
            shape = (1, *model.inputs[0].shape[1:])
            x = np.random.default_rng(0).standard_normal(shape).astype("float32")
            for sparse in (False, True):
                files.append(Path(folder, f"{len(files)}.tflite"))
                inputs.append({"x": x})
                report = tfshed.export.litert(
                    model, files[-1], sparse=sparse, batch_size=1, verify=False
                )
            blocks = sum("blocks" in row.runs for row in report.rows)
            found.append((name, blocks, sum(row.xnnpack == "sparse" for row in report.rows)))
        runs = _litert_js.run(files, inputs, given.rounds, 10, given.prefix)
    errors = [run.error for run in runs if run.error]
    if errors:
        raise RuntimeError(errors[0])
    times = [min(run.times) for run in runs]
    print(f"{'':28}{'dense ms':>10}{'sparse ms':>10}{'dense/sparse':>14}   runs sparse")
    for i, (name, blocks, sparse) in enumerate(found):
        dense, zeros = times[2 * i : 2 * i + 2]
        how = f"{blocks} in blocks" if blocks else f"{sparse} by XNNPACK"
        print(f"{name:28}{dense:10.3f}{zeros:10.3f}{dense / zeros:14.2f}   {how}")


if __name__ == "__main__":
    main()
