"""`PruningSummaries`: tfmot's TensorBoard callback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tfshed.attach.group import PruningGroup
from tfshed.attach.keras3.optimizer import pruning_optimizer
from tfshed.attach.keras3.private import layers_in
from tfshed.attach.keras3.wrapper import PruneLowMagnitude
from tfshed.attach.types import Logs
from tfshed.core.backend import to_numpy
from tfshed.observe.tensorboard import ScalarWriter


class PruningSummaries(keras.callbacks.TensorBoard):
    """Keras' `TensorBoard` callback that also writes sparsity and threshold of each kernel.

    Under `log_dir/metrics`, with tfmot's tags, at the beginning of each epoch, where the step is
    the optimizer's, and (unlike tfmot) once more when training ends:
    `prune_low_magnitude_<layer>/mask:0/sparsity`, a fraction, and
    `prune_low_magnitude_<layer>/threshold:0/threshold`, the shedding threshold. Where a layer has
    several kernels, or there is no wrapper layer, the kernel's name or path tells them apart.

    Args:
        log_dir: The folder for the event files.
        update_freq: "epoch" (default), "batch" or a number of batches, as in
            `keras.callbacks.TensorBoard`.
        **kwargs: Further arguments of `keras.callbacks.TensorBoard`, which needs TensorFlow on
            every backend.

    Raises:
        ValueError: `log_dir` is no path or empty; or, at the start of `fit`, the optimizer does not
            prune.

    >>> import keras, numpy as np, tempfile, tfshed
    >>> net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> model = tfshed.prune_low_magnitude(net, tfshed.ConstantSparsity(0.5, 0))
    >>> model.compile("sgd", "mse")
    >>> x, y = np.ones((4, 8), "float32"), np.ones((4, 4), "float32")
    >>> with tempfile.TemporaryDirectory() as logs:
    ...     callbacks = [tfshed.UpdatePruningStep(), tfshed.PruningSummaries(logs)]
    ...     _ = model.fit(x, y, verbose=0, callbacks=callbacks)
    """

    def __init__(
        self, log_dir: str | os.PathLike[str], update_freq: str | int = "epoch", **kwargs: Any
    ) -> None:
        if not isinstance(log_dir, (str, os.PathLike)) or not os.fspath(log_dir):
            raise ValueError(
                f"log_dir: expected a path or a string that is not empty, received {log_dir!r}"
            )
        super().__init__(log_dir=os.fspath(log_dir), update_freq=update_freq, **kwargs)
        self._scalars = ScalarWriter(os.path.join(self.log_dir, "metrics"))

    def on_train_begin(self, logs: Logs = None) -> None:
        super().on_train_begin(logs)
        # By now every callback has had its model, `UpdatePruningStep` too.
        if pruning_optimizer(self.model.optimizer) is None:
            raise ValueError(
                f"PruningSummaries: expected an optimizer that prunes, received {self.model.name} "
                "without one: add tfshed.UpdatePruningStep() to the callbacks"
            )

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        super().on_epoch_begin(epoch, logs)
        self._write()

    def on_train_end(self, logs: Logs = None) -> None:
        self._write()
        self._scalars.close()
        super().on_train_end(logs)

    def _write(self) -> None:
        optimizer = pruning_optimizer(self.model.optimizer)
        values: dict[str, float] = {}
        for name, group, i in tag_prefixes(self.model, optimizer.groups if optimizer else []):
            kept = float(np.mean(to_numpy(group.masks[i])))
            values[f"{name}mask:0/sparsity"] = 1.0 - kept
            threshold = to_numpy(group.threshold)[group.scopes[i]]
            values[f"{name}threshold:0/threshold"] = float(threshold)
        # Empty where the model is built in its first step only.
        if values and optimizer is not None:
            self._scalars.write(values, int(to_numpy(optimizer.iterations)))


def tag_prefixes(model: Any, groups: list[PruningGroup]) -> Iterator[tuple[str, PruningGroup, int]]:
    """For every kernel what its tags begin with, its group, and its number in the group."""
    prefixes: dict[int, str] = {}
    for layer in layers_in(model):
        if isinstance(layer, PruneLowMagnitude):
            kernels = layer.chosen_kernels()
            for kernel in kernels:
                inner = f"{kernel.variable.name}/" if len(kernels) > 1 else ""
                prefixes.setdefault(id(kernel.variable), f"{layer.name}/{inner}")
    for group in groups:
        for i, kernel in enumerate(group.kernels):
            yield prefixes.get(id(kernel.variable), f"{kernel.path}/"), group, i
