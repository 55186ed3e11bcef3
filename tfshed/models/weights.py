"""Loads weights from a file, or those of ImageNet, into a model that was just built."""

from __future__ import annotations

import itertools
import os
import re
import warnings
from pathlib import Path
from typing import Any

import h5py
import keras

from tfshed.attach.keras3 import private
from tfshed.attach.strip import strip_pruning
from tfshed.models.grafting import BUILT_IN, names_of
from tfshed.models.registry import Network


def check_file(path: str | os.PathLike[str]) -> Path:
    """Returns the path of a `.weights.h5` or `.keras` file after checking that it exists.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file has another ending.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            "weights: expected None, 'imagenet' or an existing .keras or .weights.h5 file, "
            f"received {str(path)!r}"
            + (", a directory. Name the file in it." if path.is_dir() else ".")
        )
    if not path.name.endswith((".keras", ".weights.h5")):
        raise ValueError(
            f"weights: expected a file named .keras or .weights.h5, received {str(path)!r}. Save "
            "it with model.save(...) or model.save_weights(...) of Keras 3."
        )
    return path


def load_file(model: Any, path: Path) -> None:
    """Loads a `.weights.h5` or a `.keras` file. The latter may have pruning wrappers.

    Raises:
        ValueError: The file is of another network. The error names the first weight that differs.
    """
    load = _load_model if path.suffix == ".keras" else _load_weights
    load(model, path)


def _load_model(model: Any, path: Path) -> None:
    other = strip_pruning(keras.saving.load_model(path, compile=False))
    for mine, its in itertools.zip_longest(model.weights, other.weights):
        shapes = ["nothing" if v is None else f"shape {tuple(v.shape)}" for v in (mine, its)]
        if shapes[0] != shapes[1]:
            where = its.path if mine is None else mine.path
            raise _other(model, path, f"{where}: {shapes[0]} here, {shapes[1]}")
    model.set_weights(other.get_weights())


def _load_weights(model: Any, path: Path) -> None:
    try:
        with h5py.File(path) as file:
            count = _count(file["layers"]) if "layers" in file else 0
    except OSError as error:
        raise ValueError(
            f"weights: expected weights that Keras saved, received {str(path)!r}, which cannot be "
            f"read: {error}. Save or fetch the file again."
        ) from error
    try:
        with warnings.catch_warnings():
            # Keras warns when it meets a layer again that failed before, and then raises the error.
            warnings.filterwarnings("ignore", "Skipping nested container")
            model.load_weights(path)
    except ValueError as error:
        # Keras loads the layers in order, and its error describes the first one that failed.
        text = str(error)
        layer = re.search(r"object <\w+ name=([^,>]+)", text)
        found = re.search(r"variable\.shape=(.*?), Received: value\.shape=(.*?)\. ", text)
        shapes = [tuple(map(int, re.findall(r"\d+", x))) for x in found.groups()] if found else []
        detail = "shape {} here, shape {}".format(*shapes) if shapes else "other weights"
        where = f"{layer[1]}: {detail}" if layer else text
        raise _other(model, path, where) from error
    if count != len(model.weights):
        # Keras does not complain about weights in the file that the model does not have.
        raise _other(model, path, f"the number of weights: {len(model.weights)} here, {count}")


def _count(group: Any) -> int:
    """The number of arrays in a group of an HDF5 file, without the states of random generators."""
    found: list[str] = []
    group.visititems(lambda k, x: found.append(k) if isinstance(x, h5py.Dataset) else None)
    return sum("seed_generator" not in name for name in found)


def _other(model: Any, path: Path, where: str) -> ValueError:
    """The error for a file of another network, which differs first at `where`."""
    return ValueError(
        f"weights: expected a file of {model.name}, received {str(path)!r}, which differs first at "
        f"{where} in the file. Build with the name, input_shape, classes and options that the file "
        "was saved with, and strip_pruning(model) before saving weights alone."
    )


def fetch_imagenet(
    network: Network, name: str, shape: tuple[int, ...], classes: int, options: dict[str, Any]
) -> Any:
    """Returns the network of keras.applications with the weights that Keras downloads.

    The last layer is left out if that of ImageNet does not fit.

    Raises:
        ValueError: The network has no such weights, or images do not have three channels.
        OSError: The download failed. The error says which file to put where.
    """
    if network.mode is None or shape[2] != 3:
        raise ValueError(
            "weights: expected 'imagenet' with a network of keras.applications and 3 channels, "
            f"received {name} with input_shape={shape}. Pass None or a file."
        )
    size = (network.size, network.size, 3)
    top = classes == 1000 and (not network.fixed_head or shape == size)
    try:
        return network.make(size, 1000, weights="imagenet", include_top=top, **options)
    except Exception as error:
        url = re.search(r"URL fetch failure on (\S+):", str(error))
        if url is None:
            raise
        place = os.path.join(private.home(), "models", url[1].rsplit("/", 1)[-1])
        raise OSError(
            f"weights: expected to download ImageNet's weights for {name}, but the download failed "
            f"({error}). Fetch {url[1]} where there is a network, and put it at {place}."
        ) from error


def copy_imagenet(reference: Any, model: Any) -> None:
    """Copies the weights of every layer of `reference` to the layer of the same name."""
    names = names_of(reference)
    for layer in reference.layers:
        if layer.weights and not isinstance(layer, BUILT_IN):
            model.get_layer(names[id(layer)]).set_weights(layer.get_weights())
