"""Latency of sparse MobileNets in a browser's engine: LiteRT.js (WebAssembly) under Node.

    cd scripts/browser && npm install        # once; needs Node 20 or newer
    python benchmarks/web_latency.py [--networks sparse_mobilenet_v1 ...] [--sparsity 0.7 0.85 ...]

For each net the unpruned model and pruned ones are written as LiteRT files of batch 1. The dense
file and the sparse ones of one granularity then run in one process with one thread, ten times each
before the next one's turn. Only 1x1 convolutions are pruned, layer by layer, and the weights are
random: latency depends on where the zeros are, not on what the net has learnt. Prints the least and
the median time and the quotients, and writes them with date and machine as CSV and as a picture.
Files in the output folder are measured again, not written again: delete them for new ones.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import os
import platform
import shlex
import statistics
import sys
from pathlib import Path

import keras
import numpy as np

import tfshed
from tfshed.export.litert.flatbuffer import parse
from tfshed.export.litert.xnnpack import why_dense
from tfshed.models.sparse_mobilenet import INVERTED, inverted_residuals, sparse_mobilenet_v1

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import _litert_js

NETWORKS = ("sparse_mobilenet_v1", *INVERTED, "resnet_bottleneck")
GRANULARITIES = {"single": None, "4x1": tfshed.Block(4, 1), "1x4": tfshed.Block(1, 4)}
IN_A_ROW = 10
COLUMNS = [
    *("date", "machine", "network", "size", "granularity", "sparsity", "bytes", "share_of_dense"),
    *("sparse_layers", "least_ms", "median_ms", "dense_over_sparse", "dense_over_sparse_median"),
]


def resnet_bottleneck(size: int):
    """Blocks of 1x1, 3x3 and 1x1 convolutions: the 3x3 ones keep XNNPACK from running it sparse."""
    layers = keras.layers
    inputs = keras.Input((size, size, 3))
    x = layers.Conv2D(64, 3, strides=2, activation="relu")(layers.ZeroPadding2D(1)(inputs))
    for filters in (64, 128, 256):
        x = layers.Conv2D(4 * filters, 1, activation="relu")(x)
        y = layers.Conv2D(filters, 1, activation="relu")(x)
        y = layers.Conv2D(filters, 3, padding="same", activation="relu")(y)
        x = layers.Add()([x, layers.Conv2D(4 * filters, 1)(y)])
        x = layers.MaxPooling2D(2)(x)
    return keras.Model(inputs, layers.Dense(1000)(layers.GlobalAveragePooling2D()(x)))


def made(name: str, size: int):
    keras.utils.set_random_seed(0)
    if name == "resnet_bottleneck":
        return resnet_bottleneck(size)
    shape = (size, size, 3)
    if name == "sparse_mobilenet_v1":
        return sparse_mobilenet_v1(shape, 1000)
    return inverted_residuals(name, shape, 1000)


def is_pointwise(layer, _) -> bool:
    return isinstance(layer, keras.layers.Conv2D) and tuple(layer.kernel_size) == (1, 1)


def write_files(name: str, size: int, arms, folder: Path) -> list[Path]:
    """The LiteRT file of the unpruned net and of each pair in `arms`; those there are kept."""
    files = [folder / f"{name}-{size}-dense.tflite"]
    files += [folder / f"{name}-{size}-{blocks}-{sparsity}.tflite" for blocks, sparsity in arms]
    if all(file.exists() for file in files):
        return files
    model = made(name, size)
    dense = model.get_weights()
    for file, arm in zip(files, [None, *arms], strict=True):
        if file.exists():
            continue
        model.set_weights(dense)
        if arm is not None:
            granularity = GRANULARITIES[arm[0]]
            tfshed.sparsify(
                model, arm[1], select=is_pointwise, scope="layer", granularity=granularity
            )
        tfshed.export.litert(model, file, batch_size=1, verify=False)
        print(f"  {file} written", file=sys.stderr, flush=True)
    return files


def measured(name: str, size: int, arms, files, rounds: int, prefix) -> list[dict[str, object]]:
    """A row for the unpruned net, whose file is the first, and one for each pair in `arms`."""
    image = np.random.default_rng(0).standard_normal((1, size, size, 3)).astype("float32")
    inputs = [{"image": image}] * len(files)
    runs = _litert_js.run(files, inputs, rounds, IN_A_ROW, prefix)
    for run in runs:
        if run.error:
            raise RuntimeError(f"{name}: {run.error}")
    least = [min(run.times) for run in runs]
    median = [statistics.median(run.times) for run in runs]
    sizes = [file.stat().st_size for file in files]
    return [
        {
            "network": name,
            "size": size,
            "granularity": granularity,
            "sparsity": sparsity,
            "bytes": sizes[i],
            "share_of_dense": round(sizes[i] / sizes[0], 3),
            "sparse_layers": sum(not why for why in why_dense(parse(file.read_bytes())).values()),
            "least_ms": round(least[i], 3),
            "median_ms": round(median[i], 3),
            "dense_over_sparse": round(least[0] / least[i], 2),
            "dense_over_sparse_median": round(median[0] / median[i], 2),
        }
        for i, ((granularity, sparsity), file) in enumerate(
            zip([("dense", 0.0), *arms], files, strict=True)
        )
    ]


def picture(rows, path: Path) -> None:
    """Dense over sparse latency against sparsity, a line for each net."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name in dict.fromkeys(row["network"] for row in rows):
        for granularity, style in (("single", "-"), ("4x1", "--"), ("1x4", ":")):
            points = sorted(
                (row["sparsity"], row["dense_over_sparse"])
                for row in rows
                if (row["network"], row["granularity"]) == (name, granularity)
            )
            if points:
                axes.plot(*zip(*points), style, marker="o", label=f"{name}, {granularity}")
    axes.axhline(1.0, color="grey", linewidth=0.8)
    axes.set(xlabel="sparsity of the 1x1 convolutions", ylabel="dense over sparse latency")
    axes.set_title("LiteRT.js (WebAssembly), batch 1, one thread")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=150)


def processor() -> str:
    names = Path("/proc/cpuinfo")
    lines = names.read_text().splitlines() if names.exists() else []
    model = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{(model or [platform.processor()])[0]}, {os.cpu_count()} cores"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--sparsity", nargs="+", type=float, default=[0.7, 0.8, 0.85, 0.9, 0.95])
    parser.add_argument(
        "--granularity", nargs="+", default=["single", "4x1"], choices=GRANULARITIES
    )
    parser.add_argument("--size", type=int, default=96, help="height and width of the image")
    parser.add_argument("--rounds", type=int, default=200, help="timed runs of each file")
    parser.add_argument(
        "--prefix",
        type=shlex.split,
        default=[],
        help="a command that runs the timed process, such as 'taskset --cpu-list 0'",
    )
    parser.add_argument("--only-write", action="store_true", help="write the files, run none")
    parser.add_argument("--output", type=Path, default=Path("out/web_latency"), help="a folder")
    given = parser.parse_args()
    if _litert_js.missing():
        sys.exit(f"web_latency.py: {_litert_js.missing()}")
    date = datetime.datetime.now().strftime("%Y-%m-%d")
    given.output.mkdir(parents=True, exist_ok=True)
    file = given.output / f"web_latency-{date}.csv"
    rows: list[dict[str, object]] = []
    for name in given.networks:
        for granularity in given.granularity:
            arms = [(granularity, sparsity) for sparsity in given.sparsity]
            files = write_files(name, given.size, arms, given.output)
            if given.only_write:
                continue
            found = measured(name, given.size, arms, files, given.rounds, given.prefix)
            rows += [{"date": date, "machine": processor(), **row} for row in found]
            with file.open("w", newline="") as stream:
                writer = csv.DictWriter(stream, COLUMNS)
                writer.writeheader()
                writer.writerows(rows)
            for row in found:
                print(" ".join(f"{row[c]!s:>10}" for c in COLUMNS[2:]), flush=True)
    if given.only_write:
        return
    picture(rows, file.with_suffix(".png"))
    print(f"Written to {file} and {file.with_suffix('.png')}")


if __name__ == "__main__":
    main()
