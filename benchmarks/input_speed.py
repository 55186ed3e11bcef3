"""Measures the images per second of the input pipeline, and compares it with training.

    python benchmarks/input_speed.py [--net resnet50] [--image_size 64] [--batch 32] [--images 256]

JPEGs of ImageNet's size (500x375, about 90 KB) are generated and written in the format in which
tensorflow-datasets keeps imagenet2012. The pipeline of the scripts reads them, while the files are
cached in memory. The net is trained on one batch again and again, so its rate does not depend on
the pipeline. A ratio below 1 means that training has to wait for images. Run it on a machine that
does nothing else.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

import tfshed_command  # noqa: E402

tfshed_command.import_tensorflow()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from tests import generated  # noqa: E402
from tfshed import datasets  # noqa: E402


def images_per_second(step, batch: int, seconds: float) -> float:
    """Calls `step()` for this number of seconds; the first call is not counted."""
    step()
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        step()
        done += batch
    return done / (time.perf_counter() - start)


def pipelines(data: datasets.ImageData, batch: int, workers: int):
    """Yields a name and an endless iterator of batches for each kind of reading."""
    # There are more epochs than are ever read.
    training = {"seed": 0, "epochs": 10**6, "augmentation": "crop_flip"}
    yield "train: crop_flip", iter(data.train(batch, **training))
    shard = (0, workers)
    name = f"train: crop_flip, one of {workers} workers"
    yield name, iter(data.train(batch * workers, shard=shard, **training))
    yield "evaluation: centre", iter(data.evaluation(batch, split="train").repeat())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", choices=("resnet50", "mobilenet", "none"), default="resnet50")
    parser.add_argument("--image_size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--images", type=int, default=256, help="number of images to generate")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds for each measurement")
    parser.add_argument(
        "--deterministic", action="store_true", help="use deterministic operations of TensorFlow"
    )
    args = parser.parse_args()
    if args.images < args.batch * args.workers:
        parser.error(f"--images: at least {args.batch * args.workers}, one batch of all workers")
    if args.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(0)
    side = args.image_size
    with tempfile.TemporaryDirectory() as folder:
        written = generated.imagenet(
            folder, train=args.images, evaluation=2, files=4, sizes=(375, 500), noise=64
        )
        size = sum(file.stat().st_size for file in written.glob("*train*"))
        data = datasets.load("imagenet2012", data_dir=folder, image_size=side)
        rates = {
            name: images_per_second(lambda it=it: next(it), args.batch, args.seconds)
            for name, it in pipelines(data, args.batch, args.workers)
        }
    own = None
    if args.net != "none":
        kinds = {"resnet50": keras.applications.ResNet50, "mobilenet": keras.applications.MobileNet}
        net = kinds[args.net](weights=None, input_shape=(side, side, 3))
        net.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy())
        x = np.random.default_rng(0).random((args.batch, side, side, 3), np.float32)
        y = np.zeros(args.batch, np.int32)
        own = images_per_second(lambda: net.train_on_batch(x, y), args.batch, args.seconds)
    devices = ", ".join(d.device_type for d in tf.config.list_physical_devices())
    print(
        f"{os.cpu_count()} cores, devices: {devices}; {side}x{side}, batch {args.batch}, JPEGs of "
        f"{size / args.images / 1000:.0f} KB"
    )
    print(f"{'':38}{'images/s':>10}{f'over {args.net}' if own else '':>18}")
    for name, rate in rates.items():
        print(f"{name:38}{rate:10.0f}" + (f"{rate / own:18.2f}" if own else ""))
    if own:
        print(f"{args.net + ', training alone':38}{own:10.0f}")


if __name__ == "__main__":
    main()
