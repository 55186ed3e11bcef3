"""Which image data can be loaded by name, and how more are added."""

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
    """What `load` was asked for; what the function that loads the data is given.

    Attributes:
        name: the whole name, as the user wrote it.
        path: what stands behind the colon of a name such as "npz:PATH"; "" for other names.
        configuration: what stands behind the slash of a name such as "imagenette/160px"; "" for
            none.
        data_dir: the folder of the data sets, or None.
        image_size: height and width of the images to give out, in pixels, or None.
        cache: whether to hold the data in memory; None leaves the choice to the function.
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
    """A decorator that adds image data under a name.

    `load`, recipes and the command line find them there. A file in `tfshed/datasets/` needs no
    other change anywhere; code outside of the package has to be imported before the name is used,
    which a recipe does that defines its data itself.

    Args:
        name: without a slash, such as "cifar10". A name of the form "KIND:PATH", such as
            "npz:PATH", stands for every name that begins with "KIND:".
        configurations: whether "NAME/CONFIGURATION" is a name, too.

    Raises:
        ValueError: the name is taken, or empty.

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
    """Image data by name; nothing is downloaded.

    Args:
        name: "digits" (of scikit-learn, no files needed); data that tensorflow-datasets has
            prepared: "imagenet2012", "imagenet_v2" (evaluation only), "imagenette", "cifar10",
            "cifar100", "mnist", "fashion_mnist", each also as "NAME/CONFIG"; or files:
            "folder:PATH" with train/CLASS/*.jpg and validation/CLASS/*.jpg (or val, or test),
            "npz:PATH" or "PATH.npz" with x_train, y_train, x_test, y_test, and "tfrecords:PATH"
            with train-00000-of-01024 and so on; or what `register` has added.
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
