"""`MaskSnapshots`: keeps the masks of a run over time, eight weights in a byte."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from tfshed.attach.group import PruningGroup
from tfshed.attach.keras3.optimizer import pruning_optimizer
from tfshed.attach.keras3.private import model_of, steps_begun
from tfshed.attach.ownership import chain
from tfshed.attach.types import Logs
from tfshed.core.arguments import MOST_INT, check_bool, check_int
from tfshed.core.backend import read, to_numpy
from tfshed.core.granularity import Block
from tfshed.observe.clock import Clock
from tfshed.observe.probe import PruningProbe
from tfshed.observe.snapshot_file import (
    KernelInfo,
    MaskSnapshot,
    magnitude_counts,
    packed_size,
    snapshot_steps,
    write_kernels,
    write_snapshot,
)

logger = logging.getLogger("tfshed")


class MaskSnapshots(keras.callbacks.Callback):
    """Keeps masks, thresholds and magnitude histograms of a run at chosen moments.

    A snapshot is a file of packed bits, so that all of `tfshed.analysis` (overlap of kept sets,
    degenerate weights, what was shed when) can be computed afterwards. For N weights (or blocks) it
    takes N / 8 bytes, plus 1.6 kB for the histogram of each kernel, and with `weights=True` 4 bytes
    for each weight. The log of "tfshed" tells the size when training begins. To make a
    snapshot, masks and kernels are copied to the host, which makes the device finish its work.

    It keeps shadow masks as well (`observe=True`). A run that is resumed from a checkpoint
    continues the folder: snapshots after the step at which it resumes are deleted first; a run from
    step 0 begins a new one.

    Args:
        directory: The folder for the snapshots, such as "run/masks". None (default) keeps them in
            memory.
        every_epochs: A snapshot is made after every so many epochs, default 1; 0 makes none. If it
            is not 0, there is one before the first step, too.
        every_updates: A snapshot is made after every so many pruning updates. 0 (default) makes
            none.
        weights: Whether the kernels are kept as well, in float32. Default False.

    Attributes:
        snapshots: The snapshots that are held in memory.
        bytes_per_snapshot: The size of one, without file headers; 0 before training begins.

    Raises:
        ValueError: an argument is not what was expected, or, in training, no optimizer prunes.

    >>> import keras, numpy as np, tfshed
    >>> net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> model = tfshed.prune_low_magnitude(net, tfshed.OneShot(0.75, step=2), observe=True)
    >>> model.compile(keras.optimizers.SGD(1e-4), "mse")
    >>> x, y = np.ones((12, 8), "float32"), np.ones((12, 4), "float32")
    >>> kept = tfshed.MaskSnapshots()
    >>> _ = model.fit(x, y, batch_size=4, verbose=0, callbacks=[tfshed.UpdatePruningStep(), kept])
    >>> [(each.step, each.keep_ratio) for each in kept.snapshots]
    [(0, 1.0), (3, 0.25)]
    """

    # All reading is done in hooks that Keras never calls beside the next step.
    async_safe = True

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        every_epochs: int = 1,
        every_updates: int = 0,
        weights: bool = False,
    ):
        super().__init__()
        if directory is not None and (
            not isinstance(directory, (str, os.PathLike)) or not os.fspath(directory)
        ):
            raise ValueError(f"directory: expected a path or None, received {directory!r}")
        check_int("every_epochs", every_epochs, 0, MOST_INT)
        check_int("every_updates", every_updates, 0, MOST_INT)
        if not every_epochs and not every_updates:
            raise ValueError("every_epochs, every_updates: expected one above 0, received both 0")
        self._weights = check_bool("weights", weights)
        self._folder = None if directory is None else Path(directory)
        self._every_epochs, self._every_updates = every_epochs, every_updates
        self._groups: list[PruningGroup] = []
        self._probe: PruningProbe | None = None
        self._begun = False
        self._updates = 0
        self.snapshots: list[MaskSnapshot] = []
        self.bytes_per_snapshot = 0

    def on_train_begin(self, logs: Logs = None) -> None:
        self._probe, self._begun = None, False

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._epoch = epoch
        if self._attach():
            self._clock.restart(steps_begun(self._innermost))
            self._begin()

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        if self._every_updates and batch and self._attach() and self._clock.expects(batch):
            _ = self.model  # on JAX this brings the state of the running step into the variables
            self._clock.sync(steps_begun(self._innermost), batch)
            self._after_updates()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if not self._attach():
            return
        self._begin()
        self._clock.sync(steps_begun(self._innermost), 0)
        kept = self._after_updates()
        if self._every_epochs and (epoch + 1) % self._every_epochs == 0 and not kept:
            self._keep(self._clock.step)

    def _after_updates(self) -> bool:
        """Makes a snapshot if enough updates have happened since the last look."""
        before, self._updates = self._updates, self._updates + len(self._clock.take())
        due = self._every_updates
        if due and self._updates // due > before // due:
            self._keep(self._clock.step)
            return True
        return False

    def _attach(self) -> bool:
        """Finds the pruning groups; False as long as the optimizer has no variables."""
        if self._probe is not None:
            return True
        # `self.model` copies the state out of the running step on JAX, at every batch here.
        model = model_of(self) if keras.backend.backend() == "jax" else self.model
        optimizer = model.optimizer
        if optimizer is None or not optimizer.built:
            return False
        pruning = pruning_optimizer(optimizer)
        if pruning is None:
            raise ValueError(
                f"MaskSnapshots: expected an optimizer that prunes, received {model.name} without "
                "one. Declare the model with tfshed.prune_low_magnitude, with observe=True if no "
                "weight is to be pruned, and add tfshed.UpdatePruningStep() to the callbacks."
            )
        self._groups, self._probe = pruning.groups, PruningProbe(pruning.groups)
        self._innermost = chain(optimizer)[-1]
        accumulated = self._innermost.gradient_accumulation_steps or 1
        self._clock = Clock(self._probe.due, accumulated)
        self._kernels = tuple(
            KernelInfo(
                path, tuple(k.variable.shape), tuple(shape), (k.axes.input, k.axes.output), b
            )
            for path, (k, shape, b) in zip(self._probe.paths, _kernels(self._groups))
        )
        self.bytes_per_snapshot = packed_size(self._kernels, self._weights)
        return True

    def _begin(self) -> None:
        """Once in a training: makes the folder as it was at the step at which training begins."""
        if self._begun:
            return
        self._begun = True
        step = self._clock.step
        self._updates = sum(self._probe.due(s) for s in range(1, step + 1)) if self._probe else 0
        self.snapshots = [each for each in self.snapshots if each.step <= step and step]
        if self._folder is not None:
            for old in snapshot_steps(self._folder):
                if old > step or not step:
                    (self._folder / f"step-{old:08d}.npz").unlink()
            write_kernels(self._folder, self._kernels)
        logger.info(
            "MaskSnapshots: each snapshot takes %d bytes for %d weights (blocks)",
            self.bytes_per_snapshot,
            sum(k.elements for k in self._kernels),
        )
        if not step and self._every_epochs:
            self._keep(0)

    def _keep(self, step: int) -> None:
        _ = self.model
        masks = [np.array(to_numpy(m)) for g in self._groups for m in g.masks]
        kernels = [k for g in self._groups for k in g.kernels]
        weights = [to_numpy(ops.cast(read(k.variable), "float32")) for k in kernels]
        thresholds = [to_numpy(g.threshold)[s] for g in self._groups for s in g.scopes]
        snapshot = MaskSnapshot(
            step,
            self._epoch,
            self._kernels,
            masks,
            np.asarray(thresholds, "float32"),
            float(to_numpy(self._groups[0].target)),
            np.stack([magnitude_counts(w) for w in weights]),
            [np.array(w) for w in weights] if self._weights else None,
        )
        if self._folder is None:
            self.snapshots.append(snapshot)
        else:
            write_snapshot(self._folder, snapshot)


def _kernels(groups: list[PruningGroup]) -> list[tuple[Any, Any, tuple[int, int] | None]]:
    """Each kernel with the shape of its mask and its block."""
    found = []
    for group in groups:
        kind = group.config.granularity
        block = (kind.a, kind.b) if isinstance(kind, Block) else None
        found += [(k, shape, block) for k, shape in zip(group.kernels, group.mask_shapes)]
    return found
