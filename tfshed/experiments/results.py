"""The results of a run, as numbers and as a table."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from tfshed.attach.keras3.optimizer import pruning_optimizer
from tfshed.attach.kernels import candidates
from tfshed.core.backend import to_numpy
from tfshed.experiments.from_recipe import schedule
from tfshed.observe.text_table import text_pairs


def results(
    run: Any, before: dict[str, float] | None, after: dict[str, float], seconds: float, start: int
) -> dict[str, Any]:
    """Returns the results of a finished run as values that JSON can hold.

    Args:
        run: A `tfshed.experiments.Run`.
        before: The metrics on the evaluation split before pruning; None if nothing was pruned.
        after: The metrics on the evaluation split at the end.
        seconds: The duration of training in this process.
        start: The step at which training began in this process.
    """
    kernels = [
        c.kernel.variable
        for c in candidates(run.model)
        if c.named_as_kernel and c.kernel.variable.trainable
    ]
    weights = sum(int(np.prod(v.shape)) for v in kernels)
    left = sum(int(np.count_nonzero(to_numpy(v))) for v in kernels)
    found: dict[str, Any] = {
        "phase": run.settings.phase,
        "model": run.config.model.name,
        "data": run.config.data.name,
        "seed": run.settings.seed,
        "epochs": run.phase.epochs,
        "steps": run.total_steps,
        "batch_size": run.phase.batch_size,
        "replicas": run.distribution.replicas,
        "parameters": int(run.model.count_params()),
        "kernel_weights": weights,
        "kernel_weights_left": left,
        "kernel_sparsity": 1 - left / weights,
        "weights": size_of(to_numpy(v) for v in run.model.weights),
        "before": before,
        "after": after,
        "change": None if before is None else changes(before, after),
        "steps_per_second": (run.total_steps - start) / seconds
        if start < run.total_steps
        else None,
    }
    pruning = pruning_optimizer(run.model.optimizer)
    if pruning is not None:
        kept = [int(to_numpy(m).sum()) for g in pruning.groups for m in g.masks]
        sizes = [int(np.prod(s)) for g in pruning.groups for s in g.mask_shapes]
        found |= {
            "keep_target": _target(pruning.groups),
            "keep_actual": sum(kept) / sum(sizes),
            "threshold": max(float(to_numpy(g.threshold).max()) for g in pruning.groups),
        }
        if any(group.config.observe for group in pruning.groups):
            found["observe"] = True
        held = sum(group.steps_held for group in pruning.groups)
        if held:
            found["steps_held_by_collapse_guard"] = held
        if run.prunes:
            found["updates"] = run_updates(run)
    if run.retrains:
        found["strategy"] = run.phase.strategy
    if run.rollbacks:
        found["rollbacks"] = run.rollbacks
    if run.rows_missing:
        found["rows_missing"] = run.rows_missing
    return found


def changes(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """The metrics at the end minus those before pruning.

    >>> changes({"accuracy": 0.75}, {"accuracy": 0.5, "loss": 1.0})
    {'accuracy': -0.25}
    """
    return {name: after[name] - before[name] for name in after if name in before}


def size_of(arrays: Iterable[np.ndarray]) -> dict[str, int]:
    """The bytes of weights, and those that they take when they are compressed.

    Keras' own files are not compressed, so zeros take as much space in them as other numbers.
    `tfshed.export.keras` writes the compressed form, which Keras opens as well.

    >>> size_of([np.zeros((100, 100), "float32")])
    {'bytes': 40000, 'bytes_compressed': 61}
    """
    deflate, whole, small = zlib.compressobj(), 0, 0
    for array in arrays:
        block = array.tobytes()
        whole += len(block)
        small += len(deflate.compress(block))
    return {"bytes": whole, "bytes_compressed": small + len(deflate.flush())}


def _target(groups: list[Any]) -> float:
    """The target keep-ratio over all groups, weighted by their numbers of weights."""
    if len(groups) == 1:
        return float(to_numpy(groups[0].target))
    sizes = [int(g.totals.sum()) for g in groups]
    return sum(float(to_numpy(g.target)) * n for g, n in zip(groups, sizes)) / sum(sizes)


def as_json(value: Any) -> Any:
    """Replaces NaN and infinity, which JSON does not have, by None.

    Example:
        >>> as_json({"loss": float("nan"), "steps": 3, "rates": [0.1, float("inf")]})
        {'loss': None, 'steps': 3, 'rates': [0.1, None]}
    """
    if isinstance(value, dict):
        return {name: as_json(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def run_updates(run: Any) -> int:
    """Returns the number of pruning updates within the run."""
    due, _ = schedule(run.phase, run.steps_per_epoch)(np.arange(run.total_steps + 1))
    return int(np.count_nonzero(due))


def results_table(found: dict[str, Any]) -> str:
    """Returns the results as lines of text.

    Example:
        >>> found = {"phase": "prune", "seed": 0, "after": {"accuracy": 0.9712}}
        >>> print(results_table({**found, "change": {"accuracy": 0.0012}}))
        phase            prune
        seed             0
        after accuracy   0.9712
        change accuracy  +0.0012
    """
    rows: list[tuple[str, str]] = []
    for name, value in found.items():
        if isinstance(value, dict):
            sign = "+" if name == "change" else ""
            rows += [(f"{name} {k.replace('_', ' ')}", _text(v, sign)) for k, v in value.items()]
        elif value is not None:
            rows.append((name.replace("_", " "), _text(value)))
    return "\n".join(text_pairs(dict(rows), width=15))


def _text(value: Any, sign: str = "") -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}" if value >= 10000 else str(value)
    return f"{value:{sign}.4g}" if isinstance(value, float) else str(value)
