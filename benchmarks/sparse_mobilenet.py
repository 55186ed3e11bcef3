"""A MobileNetV1 trained, pruned and exported: accuracy, bytes and latency in one table.

    python benchmarks/sparse_mobilenet.py [--sparsity 0.7 0.85 0.95] [--output OUTPUT]
    python benchmarks/sparse_mobilenet.py --data cifar10.npz --width 1 --images 10000 --epochs 6 3

The net is trained, then pruned once for each sparsity with `PruneForLatencyOnXNNPack` and trained
on. Every net becomes a LiteRT file of batch 1, whose own accuracy is measured. Latency is that of
LiteRT.js under Node if it is installed (`npm install` in scripts/browser), where sparse kernels
run; else it is left out. OUTPUT gets the files, the table as CSV, and what
`scripts/browser/serve.py OUTPUT` shows in a browser.

Without `--data` the images are the digits of sklearn. A net that is small enough to learn these in
a minute gains bytes and no time; how much time a larger one gains is seen with images of one's own.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import shutil
import sys
from pathlib import Path

import keras
import numpy as np

import tfshed
from tfshed.export.litert.interpreter import interpreter
from tfshed.models.sparse_mobilenet import sparse_mobilenet_v1

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import _litert_js

BATCH = 64
SHOWN = 0.85  # the sparse file of the page, if there is one


def digits() -> dict[str, np.ndarray]:
    from sklearn.datasets import load_digits

    found = load_digits()
    x = np.rint(found.images * (255 / 16)).astype("uint8")
    order = np.random.default_rng(0).permutation(len(x))
    train, test = order[360:], order[:360]
    y = found.target
    return {"x_train": x[train], "y_train": y[train], "x_test": x[test], "y_test": y[test]}


def images(file: Path | None, size: int, most: int | None, most_test: int | None):
    """Training and test images from 0 to 255 as (x, y) pairs, the same at every call.

    Args:
        file: with the arrays x_train, y_train, x_test and y_test, images uint8 as Keras' own data
            sets have them. None: the digits.
        size: height and width that they are brought to by repeating or leaving out pixels.
        most, most_test: use only so many.
    """
    arrays = digits() if file is None else np.load(file)
    found = []
    for part, number in (("train", most), ("test", most_test)):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"].ravel()
        chosen = np.random.default_rng(1).permutation(len(x))[:number]
        x = x[chosen][:, np.arange(size) * x.shape[1] // size]
        x = x[:, :, np.arange(size) * x.shape[2] // size]
        if x.ndim == 3:
            x = np.repeat(x[..., None], 3, axis=-1)
        found.append((x.astype("float32"), y[chosen]))
    return found


def trained(train, width: float, epochs: int):
    """The unpruned net."""
    keras.utils.set_random_seed(0)
    # Its first normalisation takes care of pixels from 0 to 255.
    model = sparse_mobilenet_v1(train[0].shape[1:], int(train[1].max()) + 1, width=width)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # training is short: a few hundred steps
    fit(model, train, epochs, [])
    return model


def fit(model, train, epochs: int, callbacks) -> None:
    model.compile(
        keras.optimizers.Adam(1e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        # XLA's depthwise convolutions are slow on CPUs.
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    history = model.fit(*train, batch_size=BATCH, epochs=epochs, callbacks=callbacks, verbose=0)
    print(f"trained to {history.history['accuracy'][-1]:.4f}", file=sys.stderr, flush=True)


def pruned(dense, sparsity: float, train, epochs: int):
    """A copy of the net, pruned step by step in the first half of its training."""
    model = keras.models.clone_model(dense)
    model.set_weights(dense.get_weights())
    steps = -(-len(train[0]) // BATCH) * epochs
    schedule = tfshed.PolynomialDecay(0.0, sparsity, 0, max(1, steps // 2), frequency=5)
    policy = tfshed.PruneForLatencyOnXNNPack()
    model = tfshed.prune_low_magnitude(model, schedule, pruning_policy=policy)
    fit(model, train, epochs, [tfshed.UpdatePruningStep()])
    return tfshed.strip_pruning(model)


def accuracy(file: Path, test) -> float:
    """Of the LiteRT file itself, image by image."""
    runner = interpreter(file.read_bytes()).get_signature_runner("serving_default")
    (name,) = runner.get_input_details()
    answers = [next(iter(runner(**{name: x[None]}).values())).argmax() for x in test[0]]
    return float(np.mean(np.array(answers) == test[1]))


def latencies(files, test, prefix) -> list[float | None]:
    """The least milliseconds of each file in LiteRT.js; None without it."""
    if _litert_js.missing():
        print(f"No latencies: {_litert_js.missing()}", file=sys.stderr)
        return [None] * len(files)
    inputs = [{"image": test[0][:1]}] * len(files)
    runs = _litert_js.run(files, inputs, rounds=200, in_a_row=10, prefix=prefix)
    errors = [run.error for run in runs if run.error]
    if errors:
        raise RuntimeError(errors[0])
    return [min(run.times) for run in runs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sparsity", nargs="+", type=float, default=[0.7, 0.85, 0.95])
    parser.add_argument("--data", type=Path, help="a file .npz of images; default: digits")
    parser.add_argument("--size", type=int, default=32, help="height and width of the images")
    parser.add_argument("--width", type=float, default=0.25, help="a factor for all filters")
    parser.add_argument(
        "--epochs", nargs=2, type=int, default=[20, 20], help="of training, and of pruning"
    )
    parser.add_argument("--images", type=int, help="use only so many for training")
    parser.add_argument("--test-images", type=int, help="use only so many for testing")
    parser.add_argument("--names", nargs="+", help="of the classes; default: their numbers")
    parser.add_argument(
        "--prefix", type=shlex.split, default=[], help="a command that runs the timed process"
    )
    parser.add_argument("--output", type=Path, default=Path("out/sparse_mobilenet"))
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    train, test = images(given.data, given.size, given.images, given.test_images)
    dense = trained(train, given.width, given.epochs[0])
    nets = {"dense": dense}
    for sparsity in given.sparsity:
        nets[f"{sparsity:.0%}"] = pruned(dense, sparsity, train, given.epochs[1])
    files, reports = [], []
    for name, model in nets.items():
        files.append(given.output / f"{name.removesuffix('%')}.tflite")
        reports.append(tfshed.export.litert(model, files[-1], batch_size=1, overwrite=True))
    rows = [
        {
            "net": name,
            "accuracy": round(accuracy(file, test), 4),
            "bytes": report.size,
            "sparse layers": sum(row.xnnpack == "sparse" for row in report.rows),
            "ms": None if time is None else round(time, 3),
        }
        for name, file, report, time in zip(
            nets, files, reports, latencies(files, test, given.prefix)
        )
    ]
    with (given.output / "table.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for row in (dict(zip(rows[0], rows[0])), *rows):
        print("".join(f"{value!s:>16}" for value in row.values()))
    shown = min(range(1, len(files)), key=lambda i: abs(given.sparsity[i - 1] - SHOWN))
    shutil.copyfile(files[shown], given.output / "sparse.tflite")
    names = given.names or [str(i) for i in range(int(train[1].max()) + 1)]
    shown_images = [
        {"label": int(y), "pixels": x.ravel().tolist()} for x, y in zip(test[0][:10], test[1])
    ]
    page = {"shape": [1, *test[0].shape[1:]], "classes": names, "images": shown_images}
    (given.output / "examples.json").write_text(json.dumps(page))
    print(f"Written to {given.output}. See it: python scripts/browser/serve.py {given.output}")


if __name__ == "__main__":
    main()
