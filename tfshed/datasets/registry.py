"""Which image data there are, and how they are loaded by name."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from tfshed.core.near_miss import near_miss
from tfshed.datasets.image_data import ImageData


@dataclass(frozen=True)
class Prepared:
    """Data of tensorflow-datasets: the splits (`train` is None where there is none) and the
    configuration that is meant if none is given."""

    train: str | None
    evaluation: str
    config: str = ""


PREPARED = {
    "imagenet2012": Prepared("train", "validation"),
    "imagenet_v2": Prepared(None, "test", "matched-frequency"),
    "imagenette": Prepared("train", "validation", "full-size-v2"),
    "cifar10": Prepared("train", "test"),
    "cifar100": Prepared("train", "test"),
    "mnist": Prepared("train", "test"),
    "fashion_mnist": Prepared("train", "test"),
}
PATHS = ("folder", "npz", "tfrecords")


def load(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    image_size: int | None = None,
    cache: bool | None = None,
) -> ImageData:
    """Image data by name; nothing is downloaded.

    Args:
        name: "digits" (of scikit-learn, no files needed); data that tensorflow-datasets has
            prepared: "imagenet2012", "imagenet_v2" (evaluation only), "imagenette", "cifar10",
            "cifar100", "mnist", "fashion_mnist", each also as "NAME/CONFIG"; or files:
            "folder:PATH" with train/CLASS/*.jpg and validation/CLASS/*.jpg (or val, or test),
            "npz:PATH" or "PATH.npz" with x_train, y_train, x_test, y_test, and "tfrecords:PATH"
            with train-00000-of-01024 and so on.
        data_dir: where tensorflow-datasets keeps its data; default `$TFDS_DATA_DIR`, else
            `~/tensorflow_datasets`. The others have their path in the name.
        image_size: height and width of the images given out, in pixels; default that of the data,
            and 224 if it varies.
        cache: whether prepared data or a folder are held in memory, as uint8. Default: where
            images have one size and come to no more than 1 GB a split (a folder: in all). The
            other kinds are held in memory (digits, npz) or never (tfrecords).

    Returns:
        An `ImageData`.

    Raises:
        ValueError: an unknown name, an argument out of its range, or data that are not as they
            should be.
        FileNotFoundError: data that are not there; the text has the command that prepares them.

    >>> from tfshed import datasets
    >>> datasets.load("digits", image_size=16)
    <ImageData 'digits': 10 classes, images (16, 16, 1), {'train': 1440, 'test': 357}>
    """
    whole = isinstance(image_size, (int, np.integer)) and not isinstance(image_size, bool)
    if image_size is not None and (not whole or image_size < 1):
        raise ValueError(
            f"image_size: expected a whole number of pixels of at least 1, or None, received "
            f"{image_size!r}"
        )
    if cache not in (None, True, False):
        raise ValueError(f"cache: expected True, False or None, received {cache!r}")
    name = str(name)
    kind, colon, path = name.partition(":")
    if colon and kind in PATHS:
        if not path:
            raise ValueError(f"name: expected {kind}:PATH, received {name!r}")
        return _of_files(kind, name, path, image_size, cache)
    if name.endswith(".npz"):
        return _of_files("npz", name, name, image_size, cache)
    if name == "digits":
        from tfshed.datasets.digits import digits_data

        return digits_data(name, image_size)
    if name.partition("/")[0] in PREPARED:
        from tfshed.datasets.prepared import load_prepared

        return load_prepared(name, data_dir, image_size, cache)
    known = ["digits", *PREPARED, *(f"{kind}:PATH" for kind in PATHS)]
    hint = near_miss(name, known)
    raise ValueError(f"name: expected one of {', '.join(known)}, received {name!r}.{hint}")


def _of_files(
    kind: str, name: str, path: str, image_size: int | None, cache: bool | None
) -> ImageData:
    if kind == "npz":
        from tfshed.datasets.npz import load_npz

        return load_npz(name, path, image_size)
    if kind == "folder":
        from tfshed.datasets.folder import load_folder

        return load_folder(name, path, image_size, cache)
    from tfshed.datasets.tfrecords import load_tfrecords

    return load_tfrecords(name, path, image_size, cache)
