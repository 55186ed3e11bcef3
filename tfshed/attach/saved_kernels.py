"""What a saved file says of kernels: numbers, names and shapes to check them by, and settings."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import keras

from tfshed.attach.kernels import Candidate, Kernel, candidates
from tfshed.core.config import PruningConfig


def saved_kernels(layer: Any, wanted: Collection[int]) -> list[dict[str, Any]]:
    """JSON values that name kernels of a layer or model.

    Args:
        layer: a built layer or model.
        wanted: the identities (`id`) of the variables.

    Returns:
        For each of them its number among the layer's candidates, its path and its shape.
    """
    return [
        {"number": i, "path": c.kernel.path, "shape": list(c.kernel.variable.shape)}
        for i, c in enumerate(candidates(layer))
        if id(c.kernel.variable) in wanted
    ]


def find_kernels(layer: Any, saved: Sequence[Any]) -> list[Kernel]:
    """The kernels that `saved_kernels` named, in a layer or model that was made again.

    Args:
        layer: a built layer or model.
        saved: what `saved_kernels` returned; or bare numbers, as files of the first version have
            them.

    Raises:
        ValueError: the layer has no such kernel, or one of another name or shape.
    """
    return [c.kernel for c in find_candidates(layer, saved)]


def find_candidates(layer: Any, saved: Sequence[Any]) -> list[Candidate]:
    """As `find_kernels`, with the layers that made the kernels."""
    found = candidates(layer)
    # The first version knew no other candidates than these, and wrote numbers among them.
    numbered = [c for c in found if c.named_as_kernel]
    return [_find(layer, numbered if isinstance(x, int) else found, x) for x in saved]


def _find(layer: Any, found: list[Candidate], entry: Any) -> Candidate:
    number = entry if isinstance(entry, int) else entry["number"]
    if not 0 <= number < len(found):
        raise ValueError(
            f"{layer.name}: expected at least {number + 1} kernels, of which one was declared, "
            f"found {len(found)}. The layer is another one than when the file was written."
        )
    candidate = found[number]
    shape, path = tuple(candidate.kernel.variable.shape), candidate.kernel.path
    # The names of layers may change, as Keras counts them; a variable's own name does not.
    if not isinstance(entry, int) and (
        tuple(entry["shape"]) != shape or _own_name(entry["path"]) != _own_name(path)
    ):
        raise ValueError(
            f"{layer.name}: expected kernel {number} to be {entry['path']} "
            f"{tuple(entry['shape'])}, found {path} {shape}. The layer is another one than "
            "when the file was written."
        )
    return candidate


def _own_name(path: str) -> str:
    return path.split("/")[-1]


def read_config(saved: Any, what: str) -> PruningConfig:
    """The configuration that a file holds.

    Args:
        saved: what `keras.saving.serialize_keras_object` wrote.
        what: what of the file is read, with which an error begins.

    Raises:
        ValueError: the file holds another object there.
    """
    config = keras.saving.deserialize_keras_object(saved)
    if not isinstance(config, PruningConfig):
        raise ValueError(f"{what}: expected a PruningConfig, received {type(config).__name__}")
    return config
