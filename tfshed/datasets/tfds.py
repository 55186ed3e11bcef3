"""Data that tensorflow-datasets has prepared."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfshed.datasets.arrays import IN_MEMORY, ArraySource
from tfshed.datasets.image_data import ImageData, Source
from tfshed.datasets.needs_tensorflow import check_tensorflow
from tfshed.datasets.npz import load_npz
from tfshed.datasets.registry import Request, register
from tfshed.datasets.tfrecords import refuse_cache

DEFAULT_DIR = "~/tensorflow_datasets"
SIZE = 224


@dataclass(frozen=True)
class Builder:
    """A data set of tensorflow-datasets: its splits (`train` is None where there is none) and the
    configuration that is meant if none is given."""

    train: str | None
    evaluation: str
    configuration: str = ""


BUILDERS = {
    "imagenet2012": Builder("train", "validation"),
    "imagenet_v2": Builder(None, "test", "matched-frequency"),
    "imagenette": Builder("train", "validation", "full-size-v2"),
    "cifar10": Builder("train", "test"),
    "cifar100": Builder("train", "test"),
    "mnist": Builder("train", "test"),
    "fashion_mnist": Builder("train", "test"),
}


def load_prepared(request: Request) -> ImageData:
    """Data that `tfds build` has written, read from its files; nothing is downloaded.

    Where they are not there, the arrays of DATA_DIR/NAME.npz are taken (see `load_npz`).

    Raises:
        FileNotFoundError: they are not there, or files of them are missing.
        ValueError: they are in another format than TFRecord, or not images with labels.
    """
    name, data_dir = request.name, request.data_dir
    image_size, cache = request.image_size, request.cache
    base = name.partition("/")[0]
    builder = BUILDERS[base]
    wanted = request.configuration or builder.configuration
    arrays = _where(data_dir) / f"{base}.npz"
    if arrays.is_file() and not request.configuration and not _versions(base, wanted, data_dir):
        return load_npz(dataclasses.replace(request, path=str(arrays)))
    folder = _find(base, wanted, data_dir)
    check_tensorflow(name)
    import tensorflow_datasets as tfds

    from tfshed.datasets.tf_data.arrays import read_all
    from tfshed.datasets.tf_data.decoding import Decoder
    from tfshed.datasets.tf_data.records import RecordSource

    info = tfds.builder_from_directory(folder).info
    written = info.file_format
    if written is not None and written.value != "tfrecord":
        raise ValueError(
            f"{folder}: expected TFRecord files, found {written.value}. Prepare them again with "
            f"{_command(name, data_dir)} --file_format=tfrecord --overwrite"
        )
    features = info.features
    if not {"image", "label"} <= set(features):
        raise ValueError(
            f"{folder}: expected the features image and label, found {', '.join(features)}."
        )
    names = [split for split in (builder.train, builder.evaluation) if split]
    missing = [split for split in names if split not in info.splits]
    if missing:
        raise ValueError(
            f"{folder}: expected the splits {', '.join(names)}, found "
            f"{', '.join(info.splits)}. Prepare them again with {_command(name, data_dir)}"
        )
    *size, channels = features["image"].shape
    native = None not in size
    if not native:
        refuse_cache(name, cache)
    height, width = size if native else (SIZE, SIZE)
    stored = (height, width, channels or 3)
    shape = (image_size or height, image_size or width, stored[2])
    skip = {"image": tfds.decode.SkipDecoding()}

    def parse(record: Any) -> tuple[Any, Any]:
        found = features.deserialize_example(record, decoders=skip)
        return found["image"], found["label"]

    classes = int(features["label"].num_classes)
    repair = f"Prepare the data again: {_command(name, data_dir)} --overwrite"
    sources: dict[str, Source] = {}
    for split in names:
        files = _files(info.splits[split], folder, repair)
        count = sum(length for _, length in files)
        fits = native and count * int(np.prod(stored)) <= IN_MEMORY
        held = fits if cache is None else cache
        # Arrays are kept in the size of the data: a random crop needs all of it.
        decoder = Decoder(stored if held else shape, whole=native)
        stream = RecordSource(files, parse, classes, decoder, repair)
        sources[split] = stream
        if held:
            sources[split] = ArraySource(count, functools.partial(read_all, stream, stored), shape)
    return ImageData(name, classes, shape, sources, builder.train, builder.evaluation)


for _name in BUILDERS:
    register(_name, configurations=True)(load_prepared)


def _where(data_dir: str | os.PathLike[str] | None) -> Path:
    return Path(data_dir or os.environ.get("TFDS_DATA_DIR") or DEFAULT_DIR).expanduser()


def _command(name: str, data_dir: str | os.PathLike[str] | None) -> str:
    return f"tfds build {name} --data_dir={_where(data_dir)}"


def _versions(base: str, config: str, data_dir: str | os.PathLike[str] | None) -> list[Path]:
    """The folders of the versions that are there."""
    folder = _where(data_dir) / base / config
    return [
        entry
        for entry in (folder.iterdir() if folder.is_dir() else ())
        if re.fullmatch(r"\d+\.\d+\.\d+", entry.name) and (entry / "dataset_info.json").is_file()
    ]


def _find(base: str, config: str, data_dir: str | os.PathLike[str] | None) -> Path:
    """The folder of the newest version."""
    root = _where(data_dir)
    folder = root / base / config
    versions = _versions(base, config, data_dir)
    if not versions:
        wanted = f"{base}/{config}" if config else base
        text = (
            f"{wanted}: expected it prepared in {folder}/VERSION/dataset_info.json, found none in "
            f"data_dir={root}."
        )
        others = sorted(
            str(p.parent.parent.relative_to(root))
            for p in root.glob(f"{base}/*/*/dataset_info.json")
        )
        if others:
            text += f" There is {', '.join(dict.fromkeys(others))}: load that by this name."
        text += f" Prepare it with: {_command(wanted, data_dir)}"
        if not config:
            text += f" Or save it as arrays in {root / base}.npz, see docs/training.md"
        if base == "imagenet2012":
            text += (
                f", after putting ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar (from "
                f"image-net.org, with an account) into {root / 'downloads' / 'manual'}"
            )
        raise FileNotFoundError(text)
    return max(versions, key=lambda entry: tuple(int(n) for n in entry.name.split(".")))


def _files(split: Any, folder: Path, repair: str) -> list[tuple[str, int]]:
    files = [(os.fspath(p), int(n)) for p, n in zip(split.filepaths, split.shard_lengths)]
    missing = [path for path, _ in files if not os.path.isfile(path)]
    if missing:
        raise FileNotFoundError(
            f"{folder}: expected {len(files)} files of the split {split.name}, {len(missing)} are "
            f"missing, the first one is {missing[0]}. {repair}"
        )
    if not sum(length for _, length in files):
        raise ValueError(f"{folder}: expected examples in the split {split.name}, found none.")
    return files
