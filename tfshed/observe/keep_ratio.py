"""`KeepRatio`: the schedule's target and what the net has kept, at every update and epoch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeAlias

import keras
from keras import ops

from tfshed.attach.keras3.optimizer import pruning_optimizer
from tfshed.attach.keras3.private import model_of, steps_begun
from tfshed.attach.ownership import chain
from tfshed.attach.types import Logs, ScheduleLike
from tfshed.core.arguments import check_bool, check_int, is_number
from tfshed.core.backend import to_numpy
from tfshed.core.extras import need
from tfshed.observe.clock import Clock
from tfshed.observe.evaluate import evaluate_aside
from tfshed.observe.journal import Journal, flat
from tfshed.observe.probe import ControlProbe, PruningProbe, Reading
from tfshed.observe.rows import IN_BAR, LOGS, logs_of, row_of, row_of_target

# What `fit` takes as validation data: arrays (x, y), also with sample weights, or a dataset.
ValidationData: TypeAlias = Any


class KeepRatio(keras.callbacks.Callback):
    """Records the target keep-ratio, the actual one and what was shed, at every update and epoch.

    keep-ratio = kept weights / all weights = 1 - sparsity. A row is made after each step with a
    pruning update and at the end of each epoch. Its columns are:

    * `step`: the optimizer steps begun, where several accumulated batches make one step.
    * `epoch`: the number of the epoch, from 0, as in Keras.
    * `event`: "update", "epoch" or "look" (see below).
    * `target`: the keep-ratio r that the schedule asks for; 1 before the first update.
    * `actual`: the keep-ratio rho of the masks now, in weights or in the granularity's blocks.
    * `gap`: r - rho, the fraction that the net has shed beyond what the schedule asked for.
    * `after_update`: the actual keep-ratio right after the last update, before anything was shed
      again.
    * `threshold`: the magnitude below which weights are shed; the largest one of all scopes.
    * `scheduled`: how many weights (blocks) the schedule has pruned since the start.
    * `shed`: how many weights (blocks) were shed since the start.
    * `learning_rate`: that of the optimizer at this step.
    * `observed`, only in models declared with `observe=True`: the share of the weights whose masks
      are shadow masks, 1 where all are. All numbers above are then those of the shadow masks.
    * the metrics of training, which at an update are the running ones of the epoch.

    With several pruning groups, ratios are means weighted by the groups' weights, counts are sums,
    and columns `target_0`, `actual_0`, ... have each group alone. N:M and balanced pruning can
    reach only some keep-ratios; their target is the one that they come to.

    The end of an epoch has `keep_target`, `keep_actual`, `keep_gap`, `threshold`,
    `pruned_by_schedule` and `shed` in its logs. Keras hands the same logs from callback to
    callback, so History and the progress bar, which come last, always show them; a `CSVLogger`,
    `ModelCheckpoint` or `EarlyStopping` sees them if it stands after this callback. During an
    epoch the bar shows target and actual keep-ratio as of the last update.

    The device is read only when the schedule says that an update may have happened. Updates hidden
    inside one execution (`steps_per_execution` > 1) have rows with the target alone.

    A model whose optimizer does not prune is a control run. Its target is 1, and its actual
    keep-ratio is the fraction of weights with |w| >= `control_threshold` in its trainable kernels
    (those that are pruned by default). Nothing is removed: a weight that was below the threshold
    counts again once it has grown above it. It makes a row at the end of each epoch, and in steps
    in which `schedule` has an update (with the event "look").

    A run that is resumed from a checkpoint continues the files: rows after the step at which it
    resumes are dropped first. A run from step 0 begins new files, as `CSVLogger` does.

    Args:
        directory: A local folder for `keep_ratio.csv`, `keep_ratio_layers.csv` (keep-ratio of each
            kernel), `keep_ratio.png` (drawn anew at the ends of epochs, as often as takes a tenth
            of the time, and at the end of training) and TensorBoard's event files in
            `tensorboard/`, with loss, metrics and learning rate. None (default) writes nothing.
        validation_data: Data on which the model is evaluated for every row, as `fit` does it with
            its own for every epoch; the metrics of training are not touched. None (default): only
            the rows of epochs have validation metrics, those of `fit`.
        validation_batch_size: The batch size for `validation_data`. None (default) means Keras'
            default, 32.
        validation_steps: The number of batches of `validation_data` that are evaluated. None
            (default) means all of them.
        plot: Whether the picture is drawn; default True.
        tensorboard: Whether TensorBoard's event files are written; default True.
        schedule: For control runs, a pruning schedule; a row is made at each of its updates. None
            (default) leaves the rows of epochs.
        control_threshold: For control runs, the least magnitude that counts as kept, at least 0.
            The default 1e-4 is the first threshold of pruning by magnitude. 0 counts all weights
            that are not zero.

    Attributes:
        history: All rows, as a list of dicts. "kernels" in a row holds the keep-ratio of each
            kernel by its path.

    Raises:
        ValueError: an argument is not what was expected; or, in `fit`, the model has no trainable
            kernels.

    >>> import keras, numpy as np, tfshed
    >>> net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> model = tfshed.prune_low_magnitude(net, tfshed.OneShot(0.75, step=2))
    >>> model.compile(keras.optimizers.SGD(1e-4), "mse")
    >>> x, y = np.ones((12, 8), "float32"), np.ones((12, 4), "float32")
    >>> keep = tfshed.KeepRatio()
    >>> _ = model.fit(x, y, batch_size=4, verbose=0, callbacks=[tfshed.UpdatePruningStep(), keep])
    >>> [(row["step"], row["event"], row["target"], row["scheduled"]) for row in keep.history]
    [(2, 'update', 0.25, 24), (3, 'epoch', 0.25, 24)]
    """

    # `on_train_batch_end` only adds numbers that are there already, so Keras may go on calling it
    # beside the next step; all reading is done in hooks that are never called that way.
    async_safe = True

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        validation_data: ValidationData = None,
        validation_batch_size: int | None = None,
        validation_steps: int | None = None,
        plot: bool = True,
        tensorboard: bool = True,
        schedule: ScheduleLike | None = None,
        control_threshold: float = 1e-4,
    ):
        super().__init__()
        if directory is not None and (
            not isinstance(directory, (str, os.PathLike)) or not os.fspath(directory)
        ):
            raise ValueError(f"directory: expected a path or None, received {directory!r}")
        if schedule is not None and (not callable(schedule) or isinstance(schedule, type)):
            raise ValueError(
                "schedule: expected a callable step -> (should_prune, sparsity) or None, received "
                f"{schedule!r}"
            )
        if not is_number(control_threshold) or control_threshold < 0:
            raise ValueError(
                f"control_threshold: expected a finite number >= 0, received {control_threshold!r}"
            )
        for name, count in (
            ("validation_batch_size", validation_batch_size),
            ("validation_steps", validation_steps),
        ):
            if count is not None:
                check_int(name, count, 1)
        check_bool("plot", plot)
        check_bool("tensorboard", tensorboard)
        # Not only when the first epoch has been trained.
        if directory is not None and plot:
            need("matplotlib.figure", "KeepRatio with plot=True")
        if directory is not None and tensorboard:
            need("tensorboard.summary", "KeepRatio with tensorboard=True")
        self._validation = (validation_data, validation_batch_size, validation_steps)
        self._schedule, self._control_threshold = schedule, control_threshold
        self._journal = Journal(None if directory is None else Path(directory), tensorboard)
        self._plot = plot
        self._probe: Any = None
        self._shown: dict[str, float] = {}

    @property
    def history(self) -> list[dict[str, Any]]:
        return self._journal.rows

    def on_train_begin(self, logs: Logs = None) -> None:
        self._probe = None
        self._resumed = False

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._epoch = epoch
        if self._attach():
            # Only now: callbacks restore checkpoints, and with them the step, when training begins.
            self._sync_model()
            self._clock.restart(self._applied())
            self._resume(self._clock.step)
            self._shown = logs_of(self._probe.read())

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        # Looks at what the batches before this one did: so many have been run in this epoch.
        if batch and self._attach() and self._clock.expects(batch):
            self._look(batch)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if logs is not None:
            shown = self._shown
            logs.update({name: shown[name] for name in IN_BAR if name in shown})

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        logs = {} if logs is None else logs
        if not self._attach():
            raise RuntimeError(
                "KeepRatio: expected training to use the optimizer the model was compiled with, "
                f"received {self.model.name}, whose optimizer has taken no step"
            )
        self._look(0, {k: v for k, v in logs.items() if k not in LOGS})
        logs.update(self._shown)
        if self._plot:
            self._journal.plot()

    def on_train_end(self, logs: Logs = None) -> None:
        if self._plot and self.history:
            self._journal.plot(always=True)
        self._journal.close()

    def _attach(self) -> bool:
        """Finds out what to read; False as long as the optimizer has no variables.

        In the first epoch only: other callbacks may wrap the optimizer after this one is set up,
        and some models are built in their first step.
        """
        if self._probe is not None:
            return True
        # `self.model` copies the state out of the running step on JAX, at every batch here.
        model = model_of(self) if keras.backend.backend() == "jax" else self.model
        optimizer = model.optimizer
        if optimizer is None or not optimizer.built:
            return False
        pruning = pruning_optimizer(optimizer)
        self._probe = (
            PruningProbe(pruning.groups)
            if pruning is not None
            else ControlProbe(model, self._control_threshold, self._schedule)
        )
        self._innermost = chain(optimizer)[-1]
        self._clock = Clock(self._probe.due, self._innermost.gradient_accumulation_steps or 1)
        return True

    def _sync_model(self) -> Any:
        """The model; on JAX, asking for it brings the state of the running step into it."""
        return self.model

    def _applied(self) -> int:
        # Not `iterations`, which counts accumulated steps when they are whole.
        return steps_begun(self._innermost)

    def _resume(self, step: int) -> None:
        rewound = bool(self.history) and self.history[-1]["step"] > step
        if not self._resumed or rewound:
            self._journal.resume(step)
        self._resumed = True

    def _look(self, batches: int, logs: dict[str, Any] | None = None) -> None:
        """Reads the device; makes a row for each update since the last look, and for an epoch.

        Args:
            batches: run in this epoch.
            logs: at the end of an epoch, its metrics.
        """
        model = self._sync_model()
        self._clock.sync(self._applied(), batches)
        steps = self._clock.take()
        if not steps and logs is None:
            return
        # Built in the first step of all, so there was nothing before.
        self._resume(0 if not self._resumed else self._clock.step)
        for step in steps[:-1]:
            # Its execution went on to later updates: only the target is known.
            self._add_target(step)
        reading = self._probe.read()
        self._shown = logs_of(reading)
        # Validation has reset the metrics by the end of an epoch: then the logs have them.
        known = flat(model.get_metrics_result() if logs is None else logs)
        metrics = {k: float(ops.convert_to_numpy(v)) for k, v in known.items()}
        validation = evaluate_aside(model, *self._validation)
        if steps:
            training = {k: v for k, v in metrics.items() if not k.startswith("val_")}
            self._add(steps[-1], self._probe.event, reading, {**training, **validation})
        if logs is not None:
            self._add(self._clock.step, "epoch", reading, {**metrics, **validation})
        shown = {"learning_rate": self._learning_rate(), **metrics, **validation}
        self._journal.scalars(reading.net, reading.groups, reading.kernels, shown, self._clock.step)

    def _add(self, step: int, event: str, reading: Reading, metrics: dict[str, float]) -> None:
        """Adds the row of a step that was read from the device."""
        key = {"step": step, "epoch": self._epoch, "event": event}
        self._journal.add(row_of(reading, key, self._learning_rate(), metrics), reading.kernels)

    def _learning_rate(self) -> float:
        return float(to_numpy(self._innermost.learning_rate))

    def _add_target(self, step: int) -> None:
        """Adds the row of an update that the device has left behind."""
        key = {"step": step, "epoch": self._epoch, "event": self._probe.event}
        self._journal.add(row_of_target(self._probe.target_at(step), key), {})
