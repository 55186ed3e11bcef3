"""ImageNet as TFRecord files in the format of TensorFlow's own scripts."""

from __future__ import annotations

import os
import re
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tfshed.datasets.image_data import ImageData, Source
from tfshed.datasets.needs_tensorflow import check_tensorflow
from tfshed.datasets.registry import Request, register

CLASSES = 1000
SIZE = 224
SPLITS = ("train", "validation")
# A record consists of its length (uint64), a checksum (uint32), the bytes, and a checksum (uint32).
HEAD, AROUND = struct.Struct("<Q"), 16
READERS = 16
LAYOUT = (
    "Expected are files named train-00000-of-01024 to train-01023-of-01024 and validation-00000-of-"
    "00128 to validation-00127-of-00128 (any number of each), with the features image/encoded and "
    "image/class/label (1 to 1000)."
)


@register("tfrecords:PATH")
def load_tfrecords(request: Request) -> ImageData:
    """Loads TFRecord files with the features image/encoded and image/class/label.

    Records are counted first, which reads only their headers.

    Raises:
        FileNotFoundError: The folder or files in it are missing.
        ValueError: A file is cut off, or `cache` is True.
    """
    name, image_size, cache = request.name, request.image_size, request.cache
    check_tensorflow(name)
    from tfshed.datasets.tf_data.decoding import Decoder
    from tfshed.datasets.tf_data.records import RecordSource

    root = Path(request.path).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"{name}: expected a folder {root}, found none. {LAYOUT}")
    refuse_cache(name, cache)
    files = {split: _files(root, split) for split in SPLITS}
    if not files["validation"]:
        raise FileNotFoundError(f"{root}: found no files validation-*-of-*. {LAYOUT}")
    shape = (image_size or SIZE, image_size or SIZE, 3)
    decoder = Decoder(shape, whole=False)
    sources: dict[str, Source] = {}
    with ThreadPoolExecutor(READERS) as readers:
        for split, paths in files.items():
            if paths:
                counted = list(zip(paths, readers.map(count_records, paths)))
                sources[split] = RecordSource(
                    counted, parse, CLASSES, decoder, "Write this file again."
                )
    train = "train" if "train" in sources else None
    return ImageData(name, CLASSES, shape, sources, train, "validation")


def refuse_cache(name: str, cache: bool | None) -> None:
    """Raises ValueError if `cache` is True, for data that can only be read as a stream."""
    if cache:
        raise ValueError(
            f"cache=True: expected data of one image size, received {name}, which is read as a "
            "stream of encoded images. Leave cache out; the system keeps files it has read in the "
            "memory that is free."
        )


def parse(record: Any) -> tuple[Any, Any]:
    """Returns the encoded image and the label, from 0 on, of a record."""
    import tensorflow as tf

    found = tf.io.parse_single_example(
        record,
        {
            "image/encoded": tf.io.FixedLenFeature([], tf.string),
            "image/class/label": tf.io.FixedLenFeature([], tf.int64),
        },
    )
    return found["image/encoded"], found["image/class/label"] - 1


def _files(root: Path, split: str) -> list[str]:
    found = {}
    totals = set()
    for entry in sorted(root.iterdir()):
        match = re.fullmatch(rf"{split}-(\d{{5,}})-of-(\d{{5,}})", entry.name)
        if match:
            found[int(match[1])] = str(entry)
            totals.add(int(match[2]))
    if len(totals) > 1:
        raise ValueError(
            f"{root}: expected files {split}-*-of-N of one N, found {sorted(totals)}. Remove those "
            "that do not belong here."
        )
    missing = [i for i in range(max(totals, default=0)) if i not in found]
    if missing:
        total = totals.pop()
        raise FileNotFoundError(
            f"{root}: expected {total} files {split}-*-of-{total:05d}, found {len(found)}; the "
            f"first one missing is {split}-{missing[0]:05d}-of-{total:05d}. {LAYOUT}"
        )
    return [found[i] for i in sorted(found)]


def count_records(path: str) -> int:
    """Counts the records of a TFRecord file by the lengths in their headers.

    Raises:
        ValueError: The last record is cut off, or this is no TFRecord file.
    """
    count = offset = 0
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        while offset < size:
            file.seek(offset)
            head = file.read(HEAD.size)
            if len(head) == HEAD.size:
                offset += HEAD.unpack(head)[0] + AROUND
            if len(head) < HEAD.size or offset > size:
                raise ValueError(
                    f"{path}: expected whole TFRecords without compression, found record {count} "
                    "cut off, or something else. Write this file again."
                )
            count += 1
    return count
