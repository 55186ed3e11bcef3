"""`KeepEpochs`: keeps the weights of chosen epochs, to rewind to."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfshed.core.arguments import check_int
from tfshed.observe.replace_file import replace_file

NAME = re.compile(r"epoch-(\d+)\.npz")


class KeepEpochs(keras.callbacks.Callback):
    """Keeps a model's weights as they are after chosen epochs; epoch 0 is before training.

    Args:
        epochs: whole numbers >= 0.
        folder: where they are written, each as `epoch-0010.npz`, with the arrays in the order of
            `get_weights`. Default None: they are held in memory.

    Attributes:
        weights: dict of the epochs held in memory, each a list of arrays as `get_weights` gives.

    Raises:
        ValueError: an epoch is no whole number >= 0.

    >>> import keras, numpy as np, tfshed
    >>> net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> net.compile("sgd", "mse")
    >>> kept = tfshed.KeepEpochs((0, 2))
    >>> x, y = np.ones((4, 2)), np.ones((4, 1))
    >>> _ = net.fit(x, y, epochs=3, verbose=0, callbacks=[kept])
    >>> sorted(kept.weights), len(kept.weights[2])
    ([0, 2], 2)
    """

    def __init__(self, epochs: Sequence[int], folder: str | os.PathLike[str] | None = None):
        super().__init__()
        for i, epoch in enumerate(epochs):
            check_int(f"epochs[{i}]", epoch, 0)
        self._epochs = set(epochs)
        self._folder = None if folder is None else Path(folder)
        self.weights: dict[int, list[np.ndarray]] = {}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        # A run that goes on from a checkpoint has kept it when it began.
        if epoch == 0 and 0 in self._epochs and not self._has(0):
            self._keep(0)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch + 1 in self._epochs:
            self._keep(epoch + 1)

    def _has(self, epoch: int) -> bool:
        if self._folder is None:
            return epoch in self.weights
        return epoch_file(self._folder, epoch).is_file()

    def _keep(self, epoch: int) -> None:
        if self._folder is None:
            self.weights[epoch] = [np.array(w) for w in self.model.get_weights()]
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        arrays = {f"{i:05d}": w for i, w in enumerate(self.model.get_weights())}
        replace_file(epoch_file(self._folder, epoch), lambda path: np.savez(path, **arrays))


def epoch_file(folder: Path, epoch: int) -> Path:
    """The file with the weights of an epoch."""
    return folder / f"epoch-{epoch:04d}.npz"


def kept_epochs(folder: Path) -> list[int]:
    """The epochs that are kept in a folder, in order."""
    found = [NAME.fullmatch(path.name) for path in folder.glob("epoch-*.npz")]
    return sorted(int(match[1]) for match in found if match)


def read_epoch(path: Path) -> list[np.ndarray]:
    """The arrays of a kept epoch, in the order of `get_weights`.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            return [found[name] for name in sorted(found.files)]
    except Exception as error:  # a damaged archive can raise nearly anything
        raise ValueError(
            f"{path}: expected the weights of an epoch, and it cannot be read ({error}). Train "
            "that run again in another folder, or choose another epoch."
        ) from error
