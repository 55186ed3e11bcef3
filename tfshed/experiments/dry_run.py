"""Plans a run before it starts: its steps, updates, keep-ratio curve, memory and time."""

from __future__ import annotations

import time
from typing import Any

import keras
import numpy as np

from tfshed.attach.keras3.optimizer import pruning_optimizer
from tfshed.core.backend import to_numpy
from tfshed.experiments.from_recipe import schedule
from tfshed.experiments.recipe import recipe
from tfshed.experiments.results import run_updates
from tfshed.experiments.run import Run
from tfshed.experiments.settings import Settings
from tfshed.observe.text_table import text_pairs

STEPS = 2
BAR = 40


def plan(run: Run) -> str:
    """Returns the plan of a run as lines of text. It runs `STEPS` steps and writes no files.

    Args:
        run: A run. Its model is trained by these steps and should not be used afterwards.
    """
    seconds = time_steps(run.model, run.train_data())
    lines = [
        *_table("Plan", _facts(run)),
        *_table("Memory", memory(run)),
        *_table("Time (one step each, so rough)", _times(run, seconds)),
    ]
    return "\n".join([*lines, *_curve(run)] if run.prunes else lines)


def _facts(run: Run) -> dict[str, str]:
    data = run.data
    split: Any = run.config.data.eval_split or data.eval_split
    trained: Any = data.train_split
    facts = {
        "phase": run.settings.phase,
        "model": f"{run.config.model.name}, {run.model.count_params():,} parameters",
        "training data": f"{data.name}, {data.examples[trained]:,} examples"
        + (f", {run.config.data.fraction:.3g} of them" if run.config.data.fraction < 1 else ""),
        "evaluated on": f"{split}, {data.examples[split]:,} examples",
        "images": f"{data.image_shape}, augmentation {run.config.data.augmentation}",
        "batch": f"{run.phase.batch_size} in all, {run.distribution.replicas} replica(s)",
        "steps": f"{run.phase.epochs} epochs of {run.steps_per_epoch} = {run.total_steps:,}",
        "precision": run.settings.precision,
        "backend": keras.backend.backend(),
    }
    if run.prunes:
        facts["pruning updates"] = f"{run_updates(run):,}, every {run.phase.frequency} steps"
    return facts


def memory(run: Run) -> dict[str, str]:
    """The bytes of all variables on each device, without activations."""
    size = lambda vs: sum(int(np.prod(v.shape)) * np.dtype(v.dtype).itemsize for v in vs)  # noqa: E731
    weights, state = size(run.model.variables), size(run.model.optimizer.variables)
    found = {"weights": _bytes(weights)}
    pruning = pruning_optimizer(run.model.optimizer)
    if pruning is not None:
        masks = size([m for g in pruning.groups for m in g.masks])
        found |= {"optimizer": _bytes(state - masks), "masks of pruning": _bytes(masks)}
    else:
        found["optimizer"] = _bytes(state)
    return found


def _times(run: Run, seconds: tuple[float, float]) -> dict[str, str]:
    first, step = seconds
    found = {
        "first step, with compilation": f"{first:.1f} s",
        "one step": f"{step:.3g} s",
        "whole run": _long(step * run.total_steps),
    }
    if run.prunes:
        plain = Run(_without_pruning(run.settings, run.phase), run.distribution)
        _, alone = time_steps(plain.model, plain.train_data())
        found["pruned step / the same not pruned"] = f"{step / alone:.2f}"
    return found


def _without_pruning(settings: Settings, phase: Any) -> Settings:
    config = settings.config.copy_and_resolve_references()
    with config.unlocked():
        for name in config.train:
            config.train[name] = config.prune[name]
        # One that is made of the rate of training cannot be the rate of training.
        config.train.learning_rate = recipe().train.learning_rate
    return Settings(
        "train", config, settings.workdir, settings.seed, settings.precision, settings.data_dir
    )


def time_steps(model: Any, data: Any) -> tuple[float, float]:
    """Runs two steps and returns the seconds of each."""
    clock = _StepClock()
    model.fit(data, epochs=1, steps_per_epoch=STEPS, verbose=0, shuffle=False, callbacks=[clock])
    return clock.seconds[0], clock.seconds[1]


class _StepClock(keras.callbacks.Callback):
    def on_train_begin(self, logs: Any = None) -> None:
        self.seconds: list[float] = []
        self._last = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        # Reading the loss waits until the step is finished.
        to_numpy((logs or {})["loss"])
        now = time.monotonic()
        self.seconds.append(now - self._last)
        self._last = now


def _curve(run: Run) -> list[str]:
    """The target keep-ratio at about twelve epochs, as bars of text."""
    found = schedule(run.phase, run.steps_per_epoch)
    epochs = run.phase.epochs
    lines = ["", "Target keep-ratio"]
    for i in range(min(12, epochs) + 1):
        epoch = round(i * epochs / min(12, epochs))
        keep = 1.0 - float(found(epoch * run.steps_per_epoch)[1])
        lines.append(f"  epoch {epoch:4d}  {keep:.3f}  {'#' * round(keep * BAR)}")
    return lines


def _table(title: str, rows: dict[str, str]) -> list[str]:
    return ["", title, *text_pairs(rows, indent="  ")]


def _bytes(count: int) -> str:
    """A number of bytes as a readable text.

    >>> _bytes(500), _bytes(102_400_000)
    ('500 B', '102.4 MB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def _long(seconds: float) -> str:
    """A duration as a readable text.

    >>> _long(42), _long(600), _long(7200), _long(360000)
    ('42 s', '10 min', '2.0 h', '4.2 days')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172800 else f"{seconds / 86400:.1f} days"
