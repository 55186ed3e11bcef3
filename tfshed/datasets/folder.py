"""A folder of image files, with a folder for each split, and in it a folder for each class."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfshed.core.extras import need
from tfshed.datasets.arrays import IN_MEMORY, ArraySource
from tfshed.datasets.image_data import ImageData, Source
from tfshed.datasets.needs_tensorflow import check_tensorflow
from tfshed.datasets.registry import Request, register

TRAIN, EVALUATION = "train", ("validation", "val", "test")
READABLE = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
# TensorFlow cannot decode these images. They raise an error, since they must not be left out
# silently.
FOREIGN = (".tif", ".tiff", ".heic", ".avif", ".jp2", ".ppm")
VARYING = 224
LAYOUT = (
    "Expected is PATH/train/CLASS/*.jpg and the same under PATH/validation (or val, or test); for "
    f"evaluation only, train may be missing. Files that are read: {', '.join(READABLE)}."
)

Split = tuple[list[str], np.ndarray]


@register("folder:PATH")
def load_folder(request: Request) -> ImageData:
    """Loads image files. Classes are the sorted names of the folders, images have 3 channels.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: A split or a class has no images, or one that cannot be read.
    """
    name, image_size, cache = request.name, request.image_size, request.cache
    check_tensorflow(name)
    from tfshed.datasets.tf_data.arrays import read_all
    from tfshed.datasets.tf_data.decoding import Decoder
    from tfshed.datasets.tf_data.files import FileSource

    root = Path(request.path).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"{name}: expected a folder {root}, found none. {LAYOUT}")
    names = [split for split in (TRAIN, *EVALUATION) if (root / split).is_dir()]
    evaluation = [split for split in names if split != TRAIN]
    if not evaluation:
        found = sorted(entry.name for entry in root.iterdir())[:10]
        raise ValueError(
            f"{root}: expected a folder {', '.join(EVALUATION[:-1])} or {EVALUATION[-1]}, found "
            f"{', '.join(found) or 'nothing'}. {LAYOUT}"
        )
    classes = _class_names(root / names[0])
    splits = {split: _files(root / split, classes) for split in names}
    everything = [file for files, _ in splits.values() for file in files]
    size = _one_size(everything, cache)
    native = size is not None and image_size in (None, *(size if size[0] == size[1] else ()))
    shape = (*size, 3) if native and size else (image_size or VARYING, image_size or VARYING, 3)
    fits = native and len(everything) * int(np.prod(shape)) <= IN_MEMORY
    if cache and not native:
        sizes = "several sizes" if size is None else f"{size} and image_size={image_size}"
        raise ValueError(
            f"cache=True: expected images of one size in {root}, which is also image_size if that "
            f"is given; found {sizes}. Leave cache out: the images are then read when needed."
        )
    decoder = Decoder(shape, whole=native)
    sources: dict[str, Source] = {}
    for split, (files, labels) in splits.items():
        source = FileSource(files, labels, decoder)
        sources[split] = source
        if fits if cache is None else cache:
            read = functools.partial(read_all, source, shape)
            sources[split] = ArraySource(source.examples, read, shape)
    train = TRAIN if TRAIN in names else None
    return ImageData(name, len(classes), shape, sources, train, evaluation[0])


def _class_names(folder: Path) -> list[str]:
    names = sorted(e.name for e in folder.iterdir() if e.is_dir() and not e.name.startswith("."))
    if not names:
        raise ValueError(f"{folder}: expected a folder for each class, found none. {LAYOUT}")
    return names


def _files(folder: Path, classes: Sequence[str]) -> Split:
    unknown = sorted(set(_class_names(folder)) - set(classes))
    if unknown:
        raise ValueError(
            f"{folder}: expected the classes of the training images only, found also "
            f"{', '.join(unknown[:5])}. Rename the folder, or add images of it to train."
        )
    files: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        if not (folder / name).is_dir():
            # A split may lack a class, if it has no folder for it.
            continue
        found = sorted(entry.path for entry in os.scandir(folder / name) if entry.is_file())
        foreign = [file for file in found if file.lower().endswith(FOREIGN)]
        if foreign:
            raise ValueError(
                f"{foreign[0]}: expected {', '.join(READABLE)}; this format cannot be decoded. "
                "Convert the file or remove it."
            )
        images = [file for file in found if file.lower().endswith(READABLE)]
        if not images:
            raise ValueError(
                f"{folder / name}: expected images, found none among its {len(found)} files. Add "
                "images of this class, or remove its folder from every split."
            )
        files += images
        labels += [label] * len(images)
    return files, np.array(labels, np.int32)


def _one_size(files: Sequence[str], cache: bool | None) -> tuple[int, int] | None:
    """The height and width of all images; None if they differ, or are too many to check."""
    image_module = need("PIL.Image", "A folder of images")

    size, encoded = None, 0
    for file in files:
        encoded += os.path.getsize(file)
        # Decoded images are even larger, and checking a million files takes minutes.
        if encoded > IN_MEMORY and not cache:
            return None
        try:
            with image_module.open(file) as image:
                width, height = image.size
        except OSError as error:
            raise ValueError(
                f"{file}: not an image that can be read ({error}). Replace or remove the file."
            ) from error
        if size not in (None, (height, width)):
            return None
        size = (height, width)
    return size
