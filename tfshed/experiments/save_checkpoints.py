"""Writes checkpoints if everything in them is finite, and stops the run when this is requested."""

from __future__ import annotations

import dataclasses
import signal
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from tfshed.attach.keras3.optimizer import pruning_optimizer
from tfshed.core.backend import to_numpy
from tfshed.core.near_miss import near_miss
from tfshed.experiments.checkpoints import BEFORE_COLLAPSE, Checkpoint, Checkpoints
from tfshed.experiments.interruption import InterruptedRunError, StopRequest
from tfshed.experiments.model_state import capture, paths, restore
from tfshed.experiments.non_finite import NonFiniteError, non_finite


@dataclasses.dataclass(frozen=True)
class CheckpointRules:
    """When checkpoints are written, and when the loss is checked.

    Attributes:
        steps_per_epoch: The number of batches in an epoch.
        every_epochs, every_steps: A checkpoint is written after this many epochs and steps. With 0
            steps, it is written only at the end of epochs.
        best: The metric by which the best checkpoint is kept as well; "" for none.
        watch_every_steps: The loss is checked after this many steps within an epoch.
        go_on: Whether NaN and infinity cause only a warning.
    """

    steps_per_epoch: int
    every_epochs: int = 1
    every_steps: int = 0
    best: str = ""
    watch_every_steps: int = 100
    go_on: bool = False


class SaveCheckpoints(keras.callbacks.Callback):
    """Writes checkpoints after a number of epochs and steps. It must be the last callback.

    A step means a batch here, counted over the whole run, so that it tells the position in the
    data. The loss is checked after a number of steps, and all arrays are checked before a
    checkpoint is written, so a good checkpoint is never replaced by one with NaN or infinity.
    The checkpoint before the first step in which the collapse guard held shedding back is kept.

    Args:
        checkpoints: The folder of checkpoints.
        metrics: The metrics that the model was compiled with.
        rules: When checkpoints are written.
        resumed: The checkpoint from which the run resumes. Default None.
        request: Tells whether the run should stop. Default None: it never should.
        info: A function that is called for more information when a checkpoint is written.
        write: Whether this process writes (as the chief does). The others only take part in
            reading. Default True.
        workers: The number of workers, which must stop in the same step. Default 1.

    Raises:
        NonFiniteError: Raised in `fit`, if the loss or a variable is not finite.
        InterruptedRunError: Raised in `fit`, after a checkpoint, if a signal has asked to stop.
    """

    # Keras may call hooks while a step is still running. Only `on_train_batch_end` is called then,
    # which stores a reference and reads nothing.
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
        self._warned = self._collapsed = False
        best = checkpoints.best() if rules.best else None
        self._best: float | None = None
        # After a rollback, a best checkpoint from a later step does not count.
        if best is not None and best.info["step"] <= self._start:
            self._best = best.info["value"] if best.info.get("metric") == rules.best else None

    def on_train_begin(self, logs: Any = None) -> None:
        # What happened before a resume was told then.
        self._collapsed = self._steps_held() > 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch_start = epoch * self._rules.steps_per_epoch
        # The first epoch may begin in the middle, but Keras counts its batches from 0.
        first = self._start > self._epoch_start
        self._offset = self._start - self._epoch_start if first else 0
        if first and self._resumed is not None:
            # They are restored only now, since Keras has just reset them.
            restore(self.model, self._resumed.arrays, self._metrics, ("metrics",))
        self._resumed = None

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        step = self._epoch_start + self._offset + batch
        every = self._rules.watch_every_steps
        # With steps_per_execution, several steps lie between two calls.
        if step // every > self._watched // every:
            self._watch(step)
        every = self._rules.every_steps
        if every and step // every > self._saved // every:
            self._save(step)
        if self._request.signal is not None:
            if self._workers > 1:
                # All workers learn of it in this step.
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
        """Checks the loss of the last finished batch. Nothing else waits for a step to finish."""
        self._watched = step
        loss = (self._logs or {}).get("loss")
        if loss is None:
            return
        value = float(np.asarray(to_numpy(loss)))
        if not np.isfinite(value):
            self._not_finite(f"the loss is {value}", step)

    def _captured(self, step: int) -> dict[str, np.ndarray] | None:
        """All arrays of the model, or None if they are not finite; every worker must call this."""
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
            warnings.warn(f"{error} The run continues without checkpoints.", stacklevel=2)

    def _save(self, step: int) -> None:
        arrays = self._captured(step)
        if arrays is not None:
            self._put(step, arrays)

    def _steps_held(self) -> int:
        pruning = pruning_optimizer(self.model.optimizer)
        return 0 if pruning is None else sum(group.steps_held for group in pruning.groups)

    def _keep_before_collapse(self, step: int) -> None:
        """Keeps the checkpoint before the first step in which the collapse guard held, once."""
        if self._collapsed or not self._steps_held():
            return
        self._collapsed = True
        if not self._write:
            return
        kept = self._checkpoints.keep_before_collapse()
        last = (
            "no checkpoint was written before"
            if kept is None
            else (f"the checkpoint of step {kept}, from before, is kept as {BEFORE_COLLAPSE}")
        )
        warnings.warn(
            "shedding would have taken nearly all that is left and was held back (collapse_guard) "
            f"for the first time between steps {self._newest or 0} and {step}; {last}. A lower "
            "learning rate, momentum or threshold sheds less.",
            stacklevel=2,
        )

    def _put(self, step: int, arrays: dict[str, np.ndarray]) -> None:
        self._keep_before_collapse(step)
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
        # Among what Keras reports, only losses are better if they are smaller.
        sign = -1 if "loss" in name else 1
        if self._best is None or sign * value > sign * self._best:
            self._best = value
            if self._write:
                info = {**self._info(), "metric": name, "value": value}
                self._checkpoints.save_best(step, arrays, info)
