"""Small data sets of generated images, written as the real ones lie on disk."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

# Ids in between and at both ends of the 1000 classes.
CLASSES = (0, 7, 388, 999)
# The folder tensorflow-datasets would use: configuration and version.
VERSIONS = {
    "imagenet2012": "5.1.0",
    "imagenet_v2": "matched-frequency/3.0.0",
    "cifar10": "3.0.2",
}


def image(
    rng: np.random.Generator, label: int, height: int, width: int, noise: int = 0
) -> np.ndarray:
    """A uint8 image whose colour tells its class, with a soft pattern of its own.

    `noise` is added to each value, up to so much: 64 makes JPEGs as large as photographs are.
    """
    colour = np.random.default_rng(label).integers(64, 192, 3)
    coarse = rng.integers(-48, 48, (4, 4, 3)) + colour
    small = Image.fromarray(coarse.clip(0, 255).astype(np.uint8))
    pixels = np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))
    if noise:
        pixels = pixels + rng.integers(-noise, noise + 1, pixels.shape)
    return pixels.clip(0, 255).astype(np.uint8)


def encoded(pixels: np.ndarray, kind: str = "JPEG") -> bytes:
    """The bytes of an image file, "JPEG" or "PNG"."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def examples(
    count: int,
    classes: Sequence[int],
    sizes: Sequence[int],
    seed: int,
    kind: str = "JPEG",
    noise: int = 0,
) -> list[tuple[bytes, int]]:
    """(image file, label) in mixed order; sides are drawn from `sizes` inclusive."""
    rng = np.random.default_rng(seed)
    made = []
    for label in rng.permutation(np.resize(np.array(classes), count)):
        height, width = rng.integers(sizes[0], sizes[1] + 1, 2)
        pixels = image(rng, int(label), int(height), int(width), noise)
        made.append((encoded(pixels, kind), int(label)))
    return made


def _split(items: list[Any], parts: int) -> list[list[Any]]:
    ends = [len(items) * i // parts for i in range(parts + 1)]
    return [items[low:high] for low, high in zip(ends, ends[1:])]


def _prepared(
    data_dir: str | os.PathLike[str],
    name: str,
    splits: dict[str, tuple[list[tuple[bytes, int]], int]],
    kind: str,
    shape: tuple[int | None, int | None, int],
    classes: int,
) -> Path:
    """Writes a data set as tensorflow-datasets does; `splits` has examples and number of files."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    folder = Path(data_dir) / name / VERSIONS[name]
    folder.mkdir(parents=True)
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=shape, encoding_format=kind),
            "label": tfds.features.ClassLabel(num_classes=classes),
            "file_name": tfds.features.Text(),
        }
    )
    infos = []
    for split, (made, parts) in splits.items():
        template = tfds.core.ShardedFileTemplate(
            data_dir=folder, dataset_name=name, split=split, filetype_suffix="tfrecord"
        )
        shards = _split(made, parts)
        for shard, path in zip(shards, template.sharded_filepaths(parts)):
            with tf.io.TFRecordWriter(os.fspath(path)) as writer:
                for i, (content, label) in enumerate(shard):
                    values = {"image": io.BytesIO(content), "label": label, "file_name": str(i)}
                    writer.write(features.serialize_example(values))
        lengths = [len(shard) for shard in shards]
        infos.append(tfds.core.SplitInfo(split, lengths, sum(len(e) for e, _ in made), template))
    tfds.folder_dataset.write_metadata(
        data_dir=folder, features=features, split_infos=infos, check_data=False
    )
    return folder


def imagenet(
    data_dir: str | os.PathLike[str],
    *,
    name: str = "imagenet2012",
    train: int = 48,
    evaluation: int = 20,
    files: int = 3,
    classes: Sequence[int] = CLASSES,
    sizes: tuple[int, int] = (24, 40),
    noise: int = 0,
    seed: int = 0,
) -> Path:
    """Writes "imagenet2012" or "imagenet_v2" (evaluation only) as tensorflow-datasets does.

    Args:
        data_dir: what to give as `data_dir` when loading.
        name: of the data set.
        train, evaluation: number of images.
        files: TFRecord files of the training images; the others are in two.
        classes: ids of the classes that occur, of 1000.
        sizes: least and largest side of an image, in pixels.
        noise: see `image`.
        seed: of the images.

    Returns:
        The folder the files are in.
    """
    held_back = examples(evaluation, classes, sizes, seed + 1, noise=noise), 2
    if name == "imagenet_v2":
        splits = {"test": held_back}
    else:
        made = examples(train, classes, sizes, seed, noise=noise)
        splits = {"train": (made, files), "validation": held_back}
    return _prepared(data_dir, name, splits, "jpeg", (None, None, 3), 1000)


def cifar10(
    data_dir: str | os.PathLike[str], *, train: int = 40, evaluation: int = 20, seed: int = 0
) -> Path:
    """Writes "cifar10" (PNG, 32x32) as tensorflow-datasets does; see `imagenet`."""
    splits = {
        "train": (examples(train, range(10), (32, 32), seed, "PNG"), 1),
        "test": (examples(evaluation, range(10), (32, 32), seed + 1, "PNG"), 1),
    }
    return _prepared(data_dir, "cifar10", splits, "png", (32, 32, 3), 10)


def tfrecords(
    folder: str | os.PathLike[str],
    *,
    train: int = 48,
    evaluation: int = 20,
    files: int = 3,
    classes: Sequence[int] = CLASSES,
    sizes: tuple[int, int] = (24, 40),
    seed: int = 0,
) -> Path:
    """Writes train-00000-of-00003 and so on with image/encoded and image/class/label (from 1).

    Arguments as of `imagenet`; no training files with `train=0`. Returns the folder.
    """
    import tensorflow as tf

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for number, (split, count, parts) in enumerate(
        [("train", train, files), ("validation", evaluation, 2)]
    ):
        if not count:
            continue
        made = examples(count, classes, sizes, seed + number)
        for i, shard in enumerate(_split(made, parts)):
            path = folder / f"{split}-{i:05d}-of-{parts:05d}"
            with tf.io.TFRecordWriter(str(path)) as writer:
                for content, label in shard:
                    writer.write(record(content, label + 1))
    return folder


def record(content: bytes, label: int) -> bytes:
    """One record with the features image/encoded and image/class/label."""
    import tensorflow as tf

    feature = {
        "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[content])),
        "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    made = tf.train.Example(features=tf.train.Features(feature=feature))
    return made.SerializeToString()


def folder(
    root: str | os.PathLike[str],
    *,
    train: int = 24,
    evaluation: int = 12,
    names: Sequence[str] = ("ant", "bee", "cat"),
    sizes: tuple[int, int] = (24, 40),
    evaluation_split: str = "validation",
    suffix: str = ".JPEG",
    seed: int = 0,
) -> Path:
    """Writes root/train/CLASS/*.JPEG and root/validation/CLASS/*.JPEG.

    Args:
        root: of the splits.
        train, evaluation: number of images, of all classes together.
        names: of the classes.
        sizes: least and largest side of an image, in pixels; equal ones for one size.
        evaluation_split: name of its folder.
        suffix: of the files: ".JPEG", ".png" or another one that Pillow writes.
        seed: of the images.

    Returns:
        `root` as a path.
    """
    root = Path(root)
    for number, (split, count) in enumerate([("train", train), (evaluation_split, evaluation)]):
        rng = np.random.default_rng(seed + number)
        for i in range(count):
            label = i % len(names)
            place = root / split / names[label]
            place.mkdir(parents=True, exist_ok=True)
            height, width = (int(side) for side in rng.integers(sizes[0], sizes[1] + 1, 2))
            pixels = image(rng, label, height, width)
            Image.fromarray(pixels).save(place / f"{i:05d}{suffix}")
    return root
