"""What `KeepRatio` measures: the state of a pruning optimizer, or the weights of a plain model.

A probe tells which steps have an update, which it computes on the host from the schedule alone, and
reads the numbers from the device, which makes the device finish its work first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from tfshed.attach.group import PruningGroup
from tfshed.attach.kernels import candidates
from tfshed.core.backend import bits, read, to_numpy
from tfshed.core.schedules.due import ask, update_at, with_start
from tfshed.observe.unique_names import unique_names


@dataclasses.dataclass(frozen=True)
class Reading:
    """The numbers at one moment.

    Attributes:
        net: target, actual, gap, after_update, threshold, scheduled, shed (see `KeepRatio`), and
            observed where masks are only observed.
        groups: the same for each pruning group.
        kernels: the keep-ratio of each kernel, by its path.
    """

    net: dict[str, Any]
    groups: list[dict[str, Any]]
    kernels: dict[str, float]


class PruningProbe:
    """Reads the groups of a built `PruningOptimizer`."""

    event = "update"

    def __init__(self, groups: Sequence[PruningGroup]):
        self.groups = list(groups)
        self.paths = unique_names([k.path for g in self.groups for k in g.kernels])
        # Blocks of one group and weights of another do not add up, weights do.
        sizes = [sum(int(np.prod(k.variable.shape)) for k in g.kernels) for g in self.groups]
        self._share = np.asarray(sizes) / sum(sizes)
        self._targets = [1.0] * len(self.groups)

    def due(self, step: int) -> bool:
        """Whether a group is updated in this optimizer step."""
        return any(_sparsity_at(group, step) is not None for group in self.groups)

    def target_at(self, step: int) -> float:
        """The net's target keep-ratio from the update in this step on.

        Call it for updates in their order: a group that has none keeps its target.
        """
        for i, group in enumerate(self.groups):
            sparsity = _sparsity_at(group, step)
            if sparsity is not None:
                self._targets[i] = group.config.granularity.keep_ratio(1.0 - sparsity)
        return float(self._share @ self._targets)

    def read(self) -> Reading:
        """The numbers now, from the device."""
        masks = [ops.sum(ops.cast(read(m), "int32")) for g in self.groups for m in g.masks]
        kept = to_numpy(ops.stack(masks)).astype(np.int64)
        sizes = [int(np.prod(s)) for g in self.groups for s in g.mask_shapes]
        rows, first = [], 0
        for group in self.groups:
            last = first + len(group.masks)
            rows.append(self._row(group, int(kept[first:last].sum())))
            first = last
        self._targets = [row["target"] for row in rows]
        net = {
            name: float(self._share @ [row[name] for row in rows])
            for name in ("target", "actual", "after_update")
        }
        net["gap"] = net["target"] - net["actual"]
        net["threshold"] = max(row["threshold"] for row in rows)
        for name in ("scheduled", "shed"):
            net[name] = sum(row[name] for row in rows)
        observed = [group.config.observe for group in self.groups]
        if any(observed):
            net["observed"] = float(self._share @ observed)
        return Reading(net, rows, dict(zip(self.paths, (kept / sizes).tolist())))

    def _row(self, group: PruningGroup, kept: int) -> dict[str, Any]:
        counts = to_numpy(group.counts).astype(np.int64).sum(axis=1)
        total = int(group.totals.sum())
        target = group.config.granularity.keep_ratio(float(to_numpy(group.target)))
        return {
            "target": target,
            "actual": kept / total,
            "gap": target - kept / total,
            "after_update": int(counts[0]) / total,
            "threshold": float(to_numpy(group.threshold).max()),
            "scheduled": int(counts[1]),
            # Counted at updates; what went since then is what the masks have lost.
            "shed": int(counts[2]) + int(counts[0]) - kept,
        }


def _sparsity_at(group: PruningGroup, step: int) -> float | None:
    """The sparsity to which an update in this step prunes a group; None without one."""
    # Of the group and not of the schedule: tfmot's way to prune has no update before training.
    due, sparsity = with_start(group.at_start, step, *ask(group.config.schedule, step))
    return sparsity if due else None


class ControlProbe:
    """Counts the weights of a model that is not pruned which are at least of some magnitude.

    Args:
        model: a built Keras model.
        threshold: the least magnitude that counts as kept.
        schedule: a pruning schedule, at whose updates `KeepRatio` looks; None: it has none.

    Raises:
        ValueError: the model has no trainable kernels.
    """

    event = "look"

    def __init__(self, model: Any, threshold: float, schedule: Any):
        found = [c for c in candidates(model) if c.off_by_default is None]
        self.variables = [c.kernel.variable for c in found if c.kernel.variable.trainable]
        if not self.variables:
            raise ValueError(
                f"KeepRatio: expected trainable kernels, received {model.name} with none"
            )
        self.paths = unique_names([c.kernel.path for c in found if c.kernel.variable.trainable])
        self._schedule = schedule
        self._threshold = float(threshold)
        # On the bits: a NaN counts as there. From the smallest number on: 0 does not.
        self._least = max(int(np.float32(threshold).view(np.int32)), 1)

    def due(self, step: int) -> bool:
        return self._schedule is not None and update_at(self._schedule, step) is not None

    def target_at(self, step: int) -> float:
        return 1.0

    def read(self) -> Reading:
        there = [ops.cast(bits(read(v)) >= self._least, "int32") for v in self.variables]
        kept = to_numpy(ops.stack([ops.sum(x) for x in there])).astype(np.int64)
        sizes = np.asarray([int(np.prod(v.shape)) for v in self.variables])
        keep_ratio = int(kept.sum()) / int(sizes.sum())
        net = {
            "target": 1.0,
            "actual": keep_ratio,
            "gap": 1.0 - keep_ratio,
            "after_update": None,
            "threshold": self._threshold,
            "scheduled": 0,
            "shed": 0,
        }
        return Reading(net, [], dict(zip(self.paths, (kept / sizes).tolist())))
