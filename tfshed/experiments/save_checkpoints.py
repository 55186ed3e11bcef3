"""Writes checkpoints, watches what goes into them, and stops the run when it is asked to."""

from __future__ import annotations

import dataclasses
import signal
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from tfshed.core.backend import to_numpy
from tfshed.core.near_miss import near_miss
from tfshed.experiments.checkpoints import Checkpoint, Checkpoints
from tfshed.experiments.interruption import InterruptedRunError, StopRequest
from tfshed.experiments.model_state import capture, paths, restore
from tfshed.experiments.non_finite import NonFiniteError, non_finite


@dataclasses.dataclass(frozen=True)
class CheckpointRules:
    """When checkpoints are written, and what is watched.

    Attributes:
        steps_per_epoch: batches of a whole epoch.
        every_epochs, every_steps: how often; 0 steps: at the end of epochs alone.
        best: the metric by which the best is kept as well; "" for none.
        watch_every_steps: how often the loss is looked at within an epoch.
        go_on: whether NaN and infinity are only warned of.
    """

    steps_per_epoch: int
    every_epochs: int = 1
    every_steps: int = 0
    best: str = ""
    watch_every_steps: int = 100
    go_on: bool = False


class SaveCheckpoints(keras.callbacks.Callback):
    """Writes a checkpoint every so many epochs and steps; stands last among the callbacks.

    A step is a batch here, counted over the whole run, so that it says where in the data the run
    stood. The loss is looked at every so many steps, and everything that a checkpoint holds before
    it is written: what is not finite never takes the place of a good one.

    Args:
        checkpoints: where to.
        metrics: those that the model was compiled with.
        rules: when.
        resumed: the checkpoint that the run goes on from, or None.
        request: whether the run is to stop.
        info: what else a checkpoint says, asked for when it is written.
        write: whether this process writes (the chief does); others only take part in reading.
        workers: the number of workers, which have to stop in the same step.

    Raises:
        NonFiniteError, InterruptedRunError: in `fit`.
    """

    # Everything happens in hooks that Keras never calls beside a running step, but for
    # `on_train_batch_end`, which keeps a reference and reads nothing.
    async_safe = True

    def __init__(
        self,
        checkpoints: Checkpoints,
        metrics: Sequence[Any],
        rules: CheckpointRules,
        *,
        resumed: Checkpoint | None = None,
        request: StopRequest | None = None,
        info: Callable[[], dict[str, Any]] = dict,
        write: bool = True,
        workers: int = 1,
    ):
        super().__init__()
        self._checkpoints, self._metrics, self._rules = checkpoints, metrics, rules
        self._resumed = resumed
        self._start = 0 if resumed is None else resumed.info["step"]
        self._request = StopRequest() if request is None else request
        self._info, self._write, self._workers = info, write, workers
        self._saved = self._finite = self._watched = self._start
        self._newest = None if resumed is None else self._start
        self._logs: Any = None
        self._warned = False
        best = checkpoints.best() if rules.best else None
        self._best: float | None = None
        # One from after this step is of a future that will not come, after a rollback.
        if best is not None and best.info["step"] <= self._start:
            self._best = best.info["value"] if best.info.get("metric") == rules.best else None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch_start = epoch * self._rules.steps_per_epoch
        # The first epoch may begin in its middle; Keras counts its batches from 0.
        first = self._start > self._epoch_start
        self._offset = self._start - self._epoch_start if first else 0
        if first and self._resumed is not None:
            # Only now: Keras has just reset them.
            restore(self.model, self._resumed.arrays, self._metrics, ("metrics",))
        self._resumed = None

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        step = self._epoch_start + self._offset + batch
        every = self._rules.watch_every_steps
        # Several steps may lie between two calls, with steps_per_execution.
        if step // every > self._watched // every:
            self._watch(step)
        every = self._rules.every_steps
        if every and step // every > self._saved // every:
            self._save(step)
        if self._request.signal is not None:
            if self._workers > 1:
                # Known to all of them when this step is done.
                self.model.stop_training = True
            else:
                self._stop(step)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._logs = logs
        if self._workers > 1 and self.model.stop_training:
            self._stop(self._epoch_start + self._offset + batch + 1)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        step = (epoch + 1) * self._rules.steps_per_epoch
        self._logs = logs
        self._watch(step)
        last = epoch + 1 == self.params.get("epochs")
        arrays = self._captured(step)
        if arrays is None:
            return
        if (epoch + 1) % self._rules.every_epochs == 0 or last:
            self._put(step, arrays)
        if self._rules.best:
            self._keep_best(step, arrays, logs or {})

    def _stop(self, step: int) -> None:
        if step > self._saved or self._newest is None:
            self._save(step)
        number = self._request.signal
        raise InterruptedRunError(step, signal.SIGTERM if number is None else number)

    def _watch(self, step: int) -> None:
        """Looks at the loss of the last batch that is done; the one place that waits for it."""
        self._watched = step
        loss = (self._logs or {}).get("loss")
        if loss is None:
            return
        value = float(np.asarray(to_numpy(loss)))
        if not np.isfinite(value):
            self._not_finite(f"the loss is {value}", step)

    def _captured(self, step: int) -> dict[str, np.ndarray] | None:
        """All of the model, if it is finite; on every worker, since the metrics of all are read."""
        arrays = capture(self.model, self._metrics)
        watched = {n: a for n, a in arrays.items() if not n.startswith("metrics/")}
        what = non_finite(watched, paths(self.model, self._metrics))
        if what is not None:
            self._not_finite(what, step)
            return None
        self._finite = step
        return arrays

    def _not_finite(self, what: str, step: int) -> None:
        error = NonFiniteError(what, step, self._finite, self._newest)
        if not self._rules.go_on:
            raise error
        if not self._warned:
            self._warned = True
            warnings.warn(f"{error} The run goes on, without checkpoints.", stacklevel=2)

    def _save(self, step: int) -> None:
        arrays = self._captured(step)
        if arrays is not None:
            self._put(step, arrays)

    def _put(self, step: int, arrays: dict[str, np.ndarray]) -> None:
        self._saved = self._newest = step
        if self._write:
            epoch = step // self._rules.steps_per_epoch
            self._checkpoints.save(step, arrays, {"epoch": epoch, **self._info()})

    def _keep_best(self, step: int, arrays: dict[str, np.ndarray], logs: dict[str, Any]) -> None:
        name = self._rules.best
        if name not in logs:
            raise ValueError(
                f"config.checkpoint.best: expected one of {', '.join(logs)}, received {name!r}."
                f"{near_miss(name, logs)}"
            )
        value = float(logs[name])
        if not np.isfinite(value):
            return
        # Of everything that Keras reports, losses alone are better when they are smaller.
        sign = -1 if "loss" in name else 1
        if self._best is None or sign * value > sign * self._best:
            self._best = value
            if self._write:
                info = {**self._info(), "metric": name, "value": value}
                self._checkpoints.save_best(step, arrays, info)
