"""Writes checkpoints, and restores the metrics of an epoch that was broken off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfshed.experiments.checkpoints import Checkpoints
from tfshed.experiments.model_state import capture, restore


class SaveCheckpoints(keras.callbacks.Callback):
    """Writes a checkpoint every so many epochs and steps; stands last among the callbacks.

    A step is a batch here, counted over the whole run, so that it says where in the data the run
    stood.

    Args:
        checkpoints: where to.
        metrics: those that the model was compiled with.
        steps_per_epoch: batches of a whole epoch.
        every_epochs, every_steps: how often; 0 steps: at the end of epochs alone.
        resumed: arrays of the checkpoint that the run goes on from, for its metrics, or None.
        start_step: where the run goes on.
        write: whether this process writes (the chief does); others only take part in reading.
    """

    # Everything happens in hooks that Keras never calls beside a running step.
    async_safe = True

    def __init__(
        self,
        checkpoints: Checkpoints,
        metrics: Sequence[Any],
        *,
        steps_per_epoch: int,
        every_epochs: int = 1,
        every_steps: int = 0,
        resumed: dict[str, np.ndarray] | None = None,
        start_step: int = 0,
        write: bool = True,
    ):
        super().__init__()
        self._checkpoints, self._metrics = checkpoints, metrics
        self._steps_per_epoch = steps_per_epoch
        self._every_epochs, self._every_steps = every_epochs, every_steps
        self._resumed, self._start, self._write = resumed, start_step, write
        self._saved = start_step

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch_start = epoch * self._steps_per_epoch
        # The first epoch may begin in its middle; Keras counts its batches from 0.
        first = self._start > self._epoch_start
        self._offset = self._start - self._epoch_start if first else 0
        if first and self._resumed is not None:
            # Only now: Keras has just reset them.
            restore(self.model, self._resumed, self._metrics, ("metrics",))
        self._resumed = None

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        step = self._epoch_start + self._offset + batch
        # Several steps may lie between two calls, with steps_per_execution.
        if self._every_steps and step // self._every_steps > self._saved // self._every_steps:
            self._save(step)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if (epoch + 1) % self._every_epochs == 0 or epoch + 1 == self.params.get("epochs"):
            self._save((epoch + 1) * self._steps_per_epoch)

    def _save(self, step: int) -> None:
        self._saved = step
        # On every worker, since the metrics of all are read.
        arrays = capture(self.model, self._metrics)
        if self._write:
            self._checkpoints.save(step, arrays, {"epoch": step // self._steps_per_epoch})
