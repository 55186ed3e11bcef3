"""`CascadeMonitor`: what drives shedding, such as the size of updates, in a row per epoch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfshed.attach.keras3.optimizer import pruning_optimizer
from tfshed.attach.keras3.private import model_of, steps_begun
from tfshed.attach.ownership import chain
from tfshed.attach.types import Logs
from tfshed.core.arguments import check_int, is_number
from tfshed.core.backend import to_numpy
from tfshed.observe.csv_table import CsvRow, CsvTable
from tfshed.observe.extra_pass import batch_norm_lag, gradient_norm
from tfshed.observe.probe import ControlProbe, PruningProbe
from tfshed.observe.update_sizes import copies, update_sizes, watched_control, watched_in

TABLE = "cascade.csv"
KEY = ["step", "epoch"]
SIZES = ["weight_norm", "update_norm", "update_ratio", "near_threshold"]
COLUMNS = ["target", "actual", "gap", "shed_rate", "threshold", "learning_rate", *SIZES]
EXTRA = ["gradient_norm", "batch_norm_lag"]


class CascadeMonitor(keras.callbacks.Callback):
    """Records what drives shedding: the gap, and how large updates are beside weights.

    A row is made at the end of each epoch, or every so many steps. Its columns are:

    * `step`, `epoch`: optimizer steps begun, and the number of the epoch from 0.
    * `target`, `actual`, `gap`, `threshold`, `learning_rate`: as in `tfshed.KeepRatio`.
    * `shed_rate`: the fraction of all weights (blocks) that were shed in a step, on average over
      the steps since the row before; None in the first row.
    * `weight_norm`: the L2 norm of all pruned kernels together.
    * `update_norm`, `update_ratio`: the L2 norm of the last update of these kernels, and that
      divided by `weight_norm`. An update by which weights are pruned or shed counts their removal,
      too.
    * `near_threshold`: the share of the kept weights (blocks) that are so near to the threshold
      that another update of the size of their last one could bring them below it.
    * with `data` also `gradient_norm`: the L2 norm of the gradient of the loss on these examples;
      and with `batch_norm`, `batch_norm_lag`: the accuracy on these examples with BatchNorm's
      statistics of this batch, minus the one with its running statistics.

    The same numbers but step, epoch, target and actual are in the logs of the epoch with the prefix
    "cascade_", where `CSVLogger` and other callbacks behind this one see them.

    Nothing is added to a step. For the size of an update, the kernels are copied on the device
    before one step of each row, which takes their memory once more; the host waits for the device
    once for each row. Each row with `data` costs one more pass forward and backward over them, and
    with `batch_norm` two more passes forward.

    A model whose optimizer does not prune is a control run, as in `KeepRatio`: its target is 1, and
    weights below `control_threshold` count as gone as long as they are below it.

    With `steps_per_execution` above 1, the size of an update is that of the change over a whole
    execution. A run that is resumed continues `cascade.csv` from the step at which it resumes.

    Args:
        directory: A local folder for `cascade.csv`. Default None: rows are only held in memory.
        every_steps: A row after each so many batches of an epoch, beside those at the ends of
            epochs. Default None: only at the ends of epochs.
        data: Examples (x, y) as arrays, some hundred of them. Default None: without the columns
            that need a pass.
        batch_norm: Whether `batch_norm_lag` is measured. Default False. It needs a classifier and
            `data`.
        control_threshold: For control runs, see above. Default 1e-4.

    Attributes:
        history: All rows, as a list of dicts.

    Raises:
        ValueError: an argument is not what was expected; or, in `fit`, the model has no trainable
            kernels.

    >>> import keras, numpy as np, tfshed
    >>> net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> model = tfshed.prune_low_magnitude(net, tfshed.OneShot(0.5, step=2))
    >>> model.compile(keras.optimizers.SGD(1e-3), "mse")
    >>> x, y = np.ones((12, 8), "float32"), np.ones((12, 4), "float32")
    >>> monitor = tfshed.CascadeMonitor(data=(x, y))
    >>> callbacks = [tfshed.UpdatePruningStep(), monitor]
    >>> _ = model.fit(x, y, batch_size=4, epochs=2, verbose=0, callbacks=callbacks)
    >>> last = monitor.history[-1]
    >>> last["step"], last["target"], 0 < last["update_ratio"] < 0.1, last["gradient_norm"] > 0
    (6, 0.5, True, True)
    """

    # `on_train_batch_end` is not used: everything is read in hooks that Keras waits for.
    async_safe = True

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        every_steps: int | None = None,
        data: tuple[Any, Any] | None = None,
        batch_norm: bool = False,
        control_threshold: float = 1e-4,
    ):
        super().__init__()
        if directory is not None and (
            not isinstance(directory, (str, os.PathLike)) or not os.fspath(directory)
        ):
            raise ValueError(f"directory: expected a path or None, received {directory!r}")
        if every_steps is not None:
            check_int("every_steps", every_steps, 1)
        if data is not None and (not isinstance(data, (tuple, list)) or len(data) != 2):
            raise ValueError(f"data: expected (x, y) or None, received {type(data).__name__}")
        if batch_norm and data is None:
            raise ValueError("batch_norm: expected False without data, received True")
        if not is_number(control_threshold) or control_threshold < 0:
            raise ValueError(
                f"control_threshold: expected a finite number >= 0, received {control_threshold!r}"
            )
        self._directory = None if directory is None else Path(directory)
        self._every, self._data, self._batch_norm = every_steps, data, batch_norm
        self._control_threshold = control_threshold
        extra = EXTRA[: 1 + batch_norm] if data is not None else []
        self._columns = [*COLUMNS, *extra]
        self.history: list[CsvRow] = []
        self._table: CsvTable | None = None
        self._probe: Any = None
        # The first batch of the last execution of an epoch, and the step and count of the last row.
        self._last: int | None = None
        self._shed_before: tuple[int, int] | None = None
        self._before: list[Any] | None = None

    def on_train_begin(self, logs: Logs = None) -> None:
        self._probe, self._before, self._resumed = None, None, False
        self._execution = int(getattr(self.model, "steps_per_execution", 1) or 1)
        steps = self.params.get("steps")
        self._last = None if not steps else (steps - 1) // self._execution * self._execution

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._epoch, self._begun, self._before = epoch, 0, None
        if not self._resumed and self._attach():
            # Only now: callbacks restore checkpoints, and with them the step, when training begins.
            self._synced_model()
            self._resume(self._step())

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        if self._crosses(self._begun, batch) and self._attach():
            self._row()
        self._begun = batch
        if (batch == self._last or self._crosses(batch, batch + self._execution)) and (
            self._attach()
        ):
            self._synced_model()
            self._before = copies(self._watched)

    def _crosses(self, before: int, after: int) -> bool:
        """Whether a row of `every_steps` is due after one of these batches of the epoch."""
        return self._every is not None and after // self._every > before // self._every

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if not self._attach():
            raise RuntimeError(
                "CascadeMonitor: expected training to use the optimizer the model was compiled "
                f"with, received {self.model.name}, whose optimizer has taken no step"
            )
        row = self._row()
        if self._last is None:
            # The number of batches was not known: it is that of this epoch.
            self._last = self._begun
        if logs is not None:
            names = [name for name in self._columns if name not in ("target", "actual")]
            known = {f"cascade_{name}": row[name] for name in names}
            logs.update({name: value for name, value in known.items() if value is not None})

    def _attach(self) -> bool:
        """Finds out what to read; False as long as the optimizer has no variables."""
        if self._probe is not None:
            return True
        model = model_of(self) if keras.backend.backend() == "jax" else self.model
        optimizer = model.optimizer
        if optimizer is None or not optimizer.built:
            return False
        pruning = pruning_optimizer(optimizer)
        if pruning is not None:
            self._probe = PruningProbe(pruning.groups)
            self._watched = watched_in(pruning.groups)
            self._total = sum(int(group.totals.sum()) for group in pruning.groups)
        else:
            self._probe = ControlProbe(model, self._control_threshold, None)
            self._watched = watched_control(self._probe.variables, self._control_threshold)
            self._total = sum(int(np.prod(v.shape)) for v in self._probe.variables)
        self._innermost = chain(optimizer)[-1]
        return True

    def _synced_model(self) -> Any:
        """The model; on JAX, asking for it brings the state of the running step into it."""
        return self.model

    def _step(self) -> int:
        accumulate = self._innermost.gradient_accumulation_steps or 1
        return -(-steps_begun(self._innermost) // accumulate)

    def _row(self) -> CsvRow:
        model, step = self._synced_model(), self._step()
        # Built in the first step of all, so there was nothing before.
        self._resume(0)
        if self.history and self.history[-1]["step"] == step:
            # The end of an epoch right after a row of `every_steps`.
            return self.history[-1]
        net = self._probe.read().net
        row: CsvRow = {"step": step, "epoch": self._epoch}
        row |= {name: net[name] for name in ("target", "actual", "gap", "threshold")}
        row["shed_rate"] = self._shed_rate(step, net["shed"])
        row["learning_rate"] = float(to_numpy(self._innermost.learning_rate))
        row |= update_sizes(self._watched, self._before)
        self._before = None
        if self._data is not None:
            x, y = self._data
            row["gradient_norm"] = gradient_norm(model, x, y)
            if self._batch_norm:
                row["batch_norm_lag"] = batch_norm_lag(model, x, y)
        row = {name: row[name] for name in [*KEY, *self._columns]}
        self.history.append(row)
        if self._table is not None:
            self._table.append(row)
        return row

    def _shed_rate(self, step: int, shed: int) -> float | None:
        before, self._shed_before = self._shed_before, (step, shed)
        if before is None or step <= before[0]:
            return None
        return float((shed - before[1]) / self._total / (step - before[0]))

    def _resume(self, step: int) -> None:
        """Once for each `fit`: drops the rows after this step, and continues the file."""
        if self._resumed:
            return
        self._resumed = True
        self.history = [row for row in self.history if row["step"] <= step]
        if self._shed_before is not None and self._shed_before[0] > step:
            self._shed_before = None
        if self._directory is None:
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        self._table = CsvTable(self._directory / TABLE, [*KEY, *self._columns])
        found = self._table.resume(step)
        if len(found) > len(self.history):
            self.history = found
