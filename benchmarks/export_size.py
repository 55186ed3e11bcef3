"""Compares packed SavedModels with dense ones: size, loading time, latency, and other loaders.

    python benchmarks/export_size.py [--nets resnet50 encoder] [--sparsity 0.8 0.85 0.9 0.95]
        [--blocks 1 4] [--parts size load latency loaders values keras] [--rounds 5]

The nets are not trained: kernels are drawn from He's normal distribution, biases and normalisation
are random, and each layer is pruned once by magnitude. Sizes hardly depend on this, since trained
mantissas are as random.

*Size*: the bytes of the whole folder relative to those of the dense SavedModel, which stores every
weight once; the same for the tar.gz of the dense one; and a floor without the graph, which is, for
each tensor, the entropy of its mask and of the upper 16 bits of its non-zeros, plus the lower 16
bits as they are. *Load*: CPU time and wall time of `tf.saved_model.load` and the peak memory of the
process, measured in fresh processes, dense and packed by turns. The smallest value of each is used,
as it is least disturbed by other programs. *Latency*: calls of `serve` in one process, by turns.
*Loaders*: whether other loaders give bit-identical outputs for the dense and the packed SavedModel.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

import tfshed_command  # noqa: E402

tfshed_command.import_tensorflow()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

import tfshed  # noqa: E402

LOAD = """
import os, resource, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
tf.constant(1.0) + 1
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
start = time.process_time(), time.perf_counter()
loaded = tf.saved_model.load(sys.argv[1])
print(time.process_time() - start[0], time.perf_counter() - start[1], peak())
"""
PARTS = ("size", "load", "latency", "loaders", "values", "keras")


def resnet50():
    """ResNet-50 with random weights."""
    return keras.applications.ResNet50(weights=None)


def encoder(width=512, depth=9, heads=8, length=64, words=2000):
    """A Transformer encoder with 28.5 million weights in kernels and 1 million in an embedding."""
    inputs = keras.Input((length,), dtype="int32")
    x = keras.layers.Embedding(words, width)(inputs)
    for _ in range(depth):
        y = keras.layers.LayerNormalization()(x)
        x += keras.layers.MultiHeadAttention(heads, width // heads)(y, y)
        y = keras.layers.LayerNormalization()(x)
        y = keras.layers.Dense(4 * width, activation="gelu")(y)
        x += keras.layers.Dense(width)(y)
    return keras.Model(inputs, keras.layers.Dense(10)(x[:, 0]))


NETS = {"resnet50": resnet50, "encoder": encoder}


def pruned(net, sparsity, block):
    """The net with random values in all variables, pruned by magnitude in each layer."""
    keras.utils.set_random_seed(0)
    model = NETS[net]()
    random = np.random.default_rng(0)
    for v in model.variables:
        if v.dtype != "float32":
            continue
        fan = np.prod(v.shape[:-1]) if len(v.shape) > 1 else 100
        value = random.standard_normal(v.shape) * np.sqrt(2 / fan)
        around = 1 if "variance" in v.path or "gamma" in v.path else 0
        v.assign(np.abs(around + value) if around else value)
    granularity = tfshed.Block(block, 1) if block > 1 else None
    return tfshed.sparsify(model, sparsity, scope="layer", granularity=granularity)


def bytes_of(path):
    """The bytes of all files in a folder."""
    return sum(p.stat().st_size for p in pathlib.Path(path).rglob("*") if p.is_file())


def tar_gz(path):
    """The bytes of a folder as a .tar.gz."""
    with tempfile.TemporaryDirectory() as folder:
        archive = pathlib.Path(folder, "model.tar.gz")
        with tarfile.open(archive, "w:gz", compresslevel=6) as tar:
            tar.add(path, arcname="model")
        return archive.stat().st_size


def entropy(symbols):
    """The entropy of all symbols together, in bytes."""
    counts = np.unique(symbols, return_counts=True)[1]
    return float(-(counts * np.log2(counts / counts.sum())).sum()) / 8


def floor(model, block):
    """The floor described above, in bytes."""
    total = 0.0
    for variable in model.variables:
        array = np.asarray(variable.value)
        if array.dtype != np.float32:
            total += array.nbytes
            continue
        bits = array.reshape(-1).view("uint32")
        kept = bits[bits != 0]
        mask = bits != 0
        axes = array.ndim - 2
        if block > 1 and axes >= 0 and array.shape[axes] % block == 0:
            groups = (array.reshape(*array.shape[:axes], -1, block, array.shape[-1]) != 0).any(-2)
            mask = groups if groups.sum() * block == mask.sum() else mask
        total += entropy(mask) + entropy(kept >> 16) + 2 * kept.size
    return total


def export(model, path, packed=True):
    """Writes the model twice, and returns the seconds of the first time, without verification.

    The second export, which is kept, is verified, since only a verified one has a short graph.
    """
    start = time.process_time()
    tfshed.export.saved_model(model, path, packed=packed, overwrite=True, verify=False)
    seconds = time.process_time() - start
    tfshed.export.saved_model(model, path, packed=packed, overwrite=True)
    return seconds


def load_ratios(dense, packed, rounds):
    """The smallest CPU time, wall time and memory of loading each of the two."""
    results = {dense: [], packed: []}
    for _ in range(rounds):
        for path in results:
            run = [sys.executable, "-c", LOAD, str(path)]
            done = subprocess.run(run, capture_output=True, text=True, check=True)
            results[path].append([float(x) for x in done.stdout.split()])
    least = {path: [min(column) for column in zip(*r, strict=True)] for path, r in results.items()}
    return least[dense], least[packed]


def latency(dense, packed, x, rounds):
    """The median over rounds of the packed one's time relative to the dense one's.

    They run by turns, so that both are disturbed alike by other programs.
    """
    models = [tf.saved_model.load(str(path)) for path in (dense, packed)]
    seconds = [[], []]
    for turn in range(3 * rounds + 1):
        for i in (0, 1) if turn % 2 else (1, 0):
            start = time.perf_counter()
            for _ in range(4):
                models[i].serve(x)
            if turn:
                seconds[i].append(time.perf_counter() - start)
    return statistics.median(b / a for a, b in zip(*seconds, strict=True))


def inputs(net):
    """A random batch of one example."""
    random = np.random.default_rng(0)
    if net == "resnet50":
        return random.standard_normal((1, 224, 224, 3)).astype("float32")
    return random.integers(0, 2000, (1, 64)).astype("int32")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", choices=sorted(NETS), default=list(NETS))
    parser.add_argument("--sparsity", nargs="+", type=float, default=[0.8, 0.85, 0.9, 0.95])
    parser.add_argument("--blocks", nargs="+", type=int, default=[1, 4], help="4: 4x1 blocks")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["size", "load", "latency"])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(
        f"{'':30}{'packed':>8}{'tar.gz':>8}{'floor':>8}{'encode':>9}{'load':>8}{'wall':>8}"
        f"{'memory':>8}{'latency':>9}   over dense; encode: CPU s; load: CPU time, wall: seconds"
    )
    with tempfile.TemporaryDirectory() as folder:
        dense, packed = pathlib.Path(folder, "dense"), pathlib.Path(folder, "packed")
        for net in args.nets:
            for block in args.blocks:
                for sparsity in args.sparsity:
                    row(args, net, block, sparsity, dense, packed)


def row(args, net, block, sparsity, dense, packed) -> None:
    """Measures one net at one sparsity and prints a row of the table."""
    model = pruned(net, sparsity, block)
    export(model, dense, packed=False)
    encode = export(model, packed)
    whole = bytes_of(dense)
    texts = [""] * 8
    texts[3] = f"{encode:.1f}"
    if "size" in args.parts:
        sizes = (bytes_of(packed), tar_gz(dense), floor(model, block))
        texts[:3] = [f"{size / whole:.4f}" for size in sizes]
    if "load" in args.parts:
        before, after = load_ratios(dense, packed, args.rounds)
        texts[4:7] = [f"{a / b:.2f}" for a, b in zip(after, before, strict=True)]
    if "latency" in args.parts:
        texts[7] = f"{latency(dense, packed, inputs(net), args.rounds):.3f}"
    name = f"{net} {sparsity:.0%} {'4x1' if block == 4 else 'single' if block == 1 else block}"
    widths = (8, 8, 8, 9, 8, 8, 8, 9)
    print(
        f"{name:30}" + "".join(f"{t:>{w}}" for t, w in zip(texts, widths, strict=True)), flush=True
    )
    if "values" in args.parts:
        for values in ("bfloat16", "float16", "int8"):
            tfshed.export.saved_model(model, packed, overwrite=True, values=values)
            report = tfshed.export.packing(packed)
            moved = report.largest_difference / max(report.largest_output, 1e-30)
            print(f"  {values:28}{bytes_of(packed) / whole:8.4f}   outputs move by {moved:.1e}")
        export(model, packed)
    if "keras" in args.parts:
        plain, small = packed.parent / "plain.keras", packed.parent / "small.keras"
        model.save(plain)
        tfshed.export.keras(model, small, overwrite=True)
        print(f"  {'.keras, deflated':28}{small.stat().st_size / plain.stat().st_size:8.4f}")
    if "loaders" in args.parts:
        loaders(net, dense, packed)


def loaders(net, dense, packed) -> None:
    """Prints for each loader whether it gives the same outputs for both."""
    from tests.export.loaders import LOADERS

    x = inputs(net)
    for name, load in LOADERS.items():
        try:
            same = np.array_equal(load(dense, x), load(packed, x))
            print(f"  {name:28}{'same bits' if same else 'OTHER BITS'}", flush=True)
        except Exception as error:
            print(f"  {name:28}FAILED: {type(error).__name__}: {str(error)[:120]}", flush=True)


if __name__ == "__main__":
    main()
