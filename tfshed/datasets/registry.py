"""The table of image data that can be loaded by name, to which you can add your own."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable

import numpy as np

from tfshed.core.import_folder import import_folder
from tfshed.core.registry import Registry
from tfshed.datasets.image_data import ImageData


@dataclasses.dataclass(frozen=True)
class Request:
    """The arguments of `load`, which are passed to the function that loads the data.

    Attributes:
        name: The whole name, as the user wrote it.
        path: The part after the colon of a name such as "npz:PATH"; "" for other names.
        configuration: The part after the slash of a name such as "imagenette/160px"; "" if there is
            none.
        data_dir: The folder of the data sets, or None.
        image_size: The height and width of the images to return, in pixels, or None.
        cache: Whether to hold the data in memory; None if the function should decide.
    """

    name: str
    path: str = ""
    configuration: str = ""
    data_dir: str | os.PathLike[str] | None = None
    image_size: int | None = None
    cache: bool | None = None


Loader = Callable[[Request], ImageData]
DATASETS: Registry[Loader] = Registry("name")
_WITH_CONFIGURATIONS: set[str] = set()


def register(name: str, *, configurations: bool = False) -> Callable[[Loader], Loader]:
    """Returns a decorator that registers a function as image data under a name.

    The name can then be used in `load`, in recipes and on the command line. A new file in
    `tfshed/datasets/` is found by itself. Code outside of the package must be imported before the
    name is used; a recipe can define its data itself.

    Args:
        name: A name without a slash, such as "cifar10". A name of the form "KIND:PATH", such as
            "npz:PATH", means all names that begin with "KIND:".
        configurations: Whether "NAME/CONFIGURATION" is a name, too. Default False.

    Raises:
        ValueError: The name is empty, or taken by another function.

    >>> import numpy as np
    >>> from tfshed import datasets
    >>> from tfshed.datasets.npz import in_memory
    >>> @datasets.register("noise")
    ... def noise(request):
    ...     images = np.random.default_rng(0).integers(0, 256, (60, 4, 4, 1), np.uint8)
    ...     labels = np.arange(60, dtype="int32") % 3
    ...     parts = {"train": (images[:40], labels[:40]), "test": (images[40:], labels[40:])}
    ...     return in_memory(request.name, 3, parts, request.image_size)
    >>> datasets.load("noise")
    <ImageData 'noise': 3 classes, images (4, 4, 1), {'train': 40, 'test': 20}>
    """

    def enter(loader: Loader) -> Loader:
        DATASETS.register(name)(loader)
        if configurations:
            _WITH_CONFIGURATIONS.add(name)
        return loader

    return enter


def load(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    image_size: int | None = None,
    cache: bool | None = None,
) -> ImageData:
    """Loads image data by name. Nothing is downloaded.

    Args:
        name: "digits" (a part of scikit-learn, which needs no files); data that tensorflow-datasets
            has prepared: "imagenet2012", "imagenet_v2" (evaluation only), "imagenette", "cifar10",
            "cifar100", "mnist" or "fashion_mnist", each also as "NAME/CONFIG"; files: "folder:PATH"
            with train/CLASS/*.jpg and validation/CLASS/*.jpg (or val, or test), "npz:PATH" or
            "PATH.npz" with x_train, y_train, x_test and y_test, or "tfrecords:PATH" with
            train-00000-of-01024 and so on; or a name that was added by `register`.
        data_dir: The folder in which tensorflow-datasets keeps its data. Default None:
            `$TFDS_DATA_DIR`, or else `~/tensorflow_datasets`. Other data have their path in the
            name.
        image_size: The height and width of the images that are returned, in pixels. Default None:
            the size in the data, or 224 if it varies.
        cache: Whether prepared data, or those of a folder, are held in memory as uint8. Default
            None: if all images have the same size and a split (of a folder: all splits) takes no
            more than 1 GB. Of the other kinds, "digits" and "npz" are always held in memory, and
            "tfrecords" never.

    Returns:
        An `ImageData`.

    Raises:
        ValueError: The name is unknown, an argument is out of its range, or the data are not as
            expected.
        FileNotFoundError: The data do not exist. The error shows the command that prepares them.

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
    # Each file of the folder registers the data that it can load.
    import_folder("tfshed.datasets")
    name = str(name)
    request = Request(name, data_dir=data_dir, image_size=image_size, cache=cache)
    kind, colon, path = name.partition(":")
    if name.endswith(".npz") and f"{kind}:PATH" not in DATASETS:
        return DATASETS.get("npz:PATH")(dataclasses.replace(request, path=name))
    if colon and f"{kind}:PATH" in DATASETS:
        if not path or name == f"{kind}:PATH":
            raise ValueError(f"name: expected {kind}:PATH, received {name!r}")
        return DATASETS.get(f"{kind}:PATH")(dataclasses.replace(request, path=path))
    base, _, configuration = name.partition("/")
    if base in _WITH_CONFIGURATIONS:
        loader = DATASETS.get(base)
        return loader(dataclasses.replace(request, configuration=configuration))
    return DATASETS.get(name)(request)
