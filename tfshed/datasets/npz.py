"""Images in a `.npz` file, the format of Keras' own data sets."""

from __future__ import annotations

import functools
import math
import zipfile
from pathlib import Path

import numpy as np

from tfshed.datasets.arrays import ArraySource
from tfshed.datasets.image_data import ImageData
from tfshed.datasets.registry import Request, register

Arrays = tuple[np.ndarray, np.ndarray]

# An array of more bytes than this may not be more than so many times as large as it is in the file.
# Images that are compressed come to some tens of times at most; a file that is made to fill the
# memory comes to a thousand.
LARGE, MOST_TIMES = 2**26, 200

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
HOW = (
    "Write it with np.savez(path, x_train=..., y_train=..., x_test=..., y_test=...): images uint8 "
    "(n, height, width) or (n, height, width, channels), labels integers from 0."
)


@register("npz:PATH")
def load_npz(request: Request) -> ImageData:
    """Loads the arrays x_train, y_train, x_test and y_test of one file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a file of NumPy, an array is missing or has a wrong dtype or shape, or
            an array would be far larger in memory than in the file and was not expanded.
    """
    path = Path(request.path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{request.name}: expected a file {path}, found none. {HOW}")
    arrays = _read(path)
    train = images_and_labels(path, "train", arrays["x_train"], arrays["y_train"])
    test = images_and_labels(path, "test", arrays["x_test"], arrays["y_test"])
    if train[0].shape[1:] != test[0].shape[1:]:
        raise ValueError(
            f"{path}: expected images of one shape in x_train and x_test, found "
            f"{train[0].shape[1:]} and {test[0].shape[1:]}. {HOW}"
        )
    classes = int(train[1].max()) + 1
    if test[1].max() >= classes:
        raise ValueError(
            f"{path}: expected labels in y_test up to {classes - 1}, the largest in y_train, found "
            f"{test[1].max()}. {HOW}"
        )
    return in_memory(request.name, classes, {"train": train, "test": test}, request.image_size)


def in_memory(
    name: str,
    classes: int,
    splits: dict[str, Arrays],
    image_size: int | None,
) -> ImageData:
    """Makes `ImageData` of arrays.

    Args:
        name: The name of the data.
        classes: The number of classes.
        splits: A dict with the splits "train" and "test", each as (images, labels).
        image_size: The height and width of the images that are returned; None for those of the
            arrays.
    """
    height, width, channels = splits["train"][0].shape[1:]
    shape = (image_size or height, image_size or width, channels)
    sources = {
        split: ArraySource(len(arrays[1]), functools.partial(_given, arrays), shape)
        for split, arrays in splits.items()
    }
    return ImageData(name, classes, shape, sources, "train", "test")


def _given(arrays: Arrays) -> Arrays:
    return arrays


def _read(path: Path) -> dict[str, np.ndarray]:
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: expected a .npz file, found something else. {HOW}")
    # Pickle is not allowed, since a pickled file could run any code.
    with np.load(path, allow_pickle=False) as file:
        missing = [array for array in ARRAYS if array not in file.files]
        if missing:
            raise ValueError(
                f"{path}: expected the arrays {', '.join(ARRAYS)}, found "
                f"{', '.join(file.files) or 'none'}: {', '.join(missing)} missing. {HOW}"
            )
        found = {}
        for array in ARRAYS:
            try:
                _check_size(path, array)
                found[array] = file[array]
            except (ValueError, OSError, zipfile.BadZipFile) as error:
                raise ValueError(
                    f"{path}: {array} expected as an array of numbers, cannot read it ({error}). "
                    f"{HOW}"
                ) from error
        return found


def _check_size(path: Path, array: str) -> None:
    """Raises ValueError for an array that is not what its file says, or is made to fill memory."""
    with zipfile.ZipFile(path) as archive:
        name = f"{array}.npy" if f"{array}.npy" in archive.namelist() else array
        entry = archive.getinfo(name)
        if entry.file_size > max(LARGE, MOST_TIMES * entry.compress_size):
            raise ValueError(
                f"expected at most {MOST_TIMES} times its {entry.compress_size:,} bytes in the "
                f"file, found {entry.file_size:,} bytes"
            )
        # NumPy asks for the memory that the header names before it reads anything.
        with archive.open(name) as file:
            first = np.lib.format.read_magic(file) == (1, 0)
            formats = np.lib.format
            read = formats.read_array_header_1_0 if first else formats.read_array_header_2_0
            shape, _, dtype = read(file)
            left = entry.file_size - file.tell()
    size = math.prod(shape) * dtype.itemsize
    # What holds Python objects is refused when it is read.
    if size != left and not dtype.hasobject:
        raise ValueError(f"expected {size:,} bytes for shape {shape}, found {left:,}")


def images_and_labels(path: Path, split: str, images: np.ndarray, labels: np.ndarray) -> Arrays:
    """Checks a split and returns images uint8 (n, h, w, c) and labels int32 (n,)."""

    def wrong(array: str, expected: str, found: object) -> ValueError:
        return ValueError(f"{path}: {array}_{split} expected {expected}, found {found}. {HOW}")

    if images.dtype != np.uint8:
        raise wrong("x", "as uint8", images.dtype)
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.ndim != 4 or 0 in images.shape:
        raise wrong("x", "as (n, height, width) or (n, height, width, channels)", images.shape)
    if labels.shape == (len(labels), 1):
        labels = labels[:, 0]
    if labels.shape != (len(images),):
        raise wrong("y", f"as ({len(images)},), one label for each image", labels.shape)
    if labels.dtype.kind not in "iu":
        raise wrong("y", "as integers", labels.dtype)
    if labels.min() < 0:
        raise wrong("y", "from 0 up", f"{labels.min()} at {int(labels.argmin())}")
    return images, labels.astype(np.int32)
