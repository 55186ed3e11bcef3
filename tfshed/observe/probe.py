"""What `KeepRatio` measures: a pruning optimizer's state, or a plain model's small weights.

A probe says which steps have an update (on the host, from the schedule alone) and reads the numbers
(from the device, so only when asked).
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
from tfshed.core.schedules.due import update_at


@dataclasses.dataclass(frozen=True)
class Reading:
    """The numbers at one moment.

    Attributes:
        net: target, actual, gap, after_update, threshold, scheduled, shed (see `KeepRatio`).
        groups: the same for each pruning group.
        kernels: the keep-ratio of each kernel, by its path.
    """

    net: dict[str, Any]
    groups: list[dict[str, Any]]
    kernels: dict[str, float]


def unique(names: Sequence[str]) -> list[str]:
    """The names, repeated ones with a number.

    >>> unique(["kernel", "kernel", "bias"])
    ['kernel', 'kernel#2', 'bias']
    """
    return [
        name if names[:i].count(name) == 0 else f"{name}#{names[:i].count(name) + 1}"
        for i, name in enumerate(names)
    ]


class PruningProbe:
    """Reads the groups of a built `PruningOptimizer`."""

    event = "update"

    def __init__(self, groups: Sequence[PruningGroup]):
        self.groups = list(groups)
        self.paths = unique([k.path for g in self.groups for k in g.kernels])
        # Blocks of one group and weights of another do not add up, weights do.
        sizes = [sum(int(np.prod(k.variable.shape)) for k in g.kernels) for g in self.groups]
        self._share = np.asarray(sizes) / sum(sizes)
        self._targets = [1.0] * len(self.groups)

    def due(self, step: int) -> bool:
        return any(update_at(g.config.schedule, step) is not None for g in self.groups)

    def target_at(self, step: int) -> float:
        """The net's target from this update on; asked for updates in their order."""
        for i, group in enumerate(self.groups):
            sparsity = update_at(group.config.schedule, step)
            if sparsity is not None:
                self._targets[i] = group.config.granularity.keep_ratio(1.0 - sparsity)
        return float(self._share @ self._targets)

    def read(self) -> Reading:
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


class ControlProbe:
    """Counts the weights of an unpruned model that are not small."""

    event = "look"

    def __init__(self, model: Any, degenerate_below: float, schedule: Any):
        found = [c for c in candidates(model) if c.off_by_default is None]
        self.variables = [c.kernel.variable for c in found if c.kernel.variable.trainable]
        if not self.variables:
            raise ValueError(
                f"KeepRatio: expected trainable kernels, received {model.name} with none"
            )
        self.paths = unique([c.kernel.path for c in found if c.kernel.variable.trainable])
        self._schedule = schedule
        self._threshold = float(degenerate_below)
        # On the bits: a NaN counts as there. From the smallest number on: 0 does not.
        self._least = max(int(np.float32(degenerate_below).view(np.int32)), 1)

    def due(self, step: int) -> bool:
        return self._schedule is not None and update_at(self._schedule, step) is not None

    def target_at(self, step: int) -> float:
        return 1.0

    def read(self) -> Reading:
        there = [ops.cast(bits(read(v)) >= self._least, "int32") for v in self.variables]
        kept = to_numpy(ops.stack([ops.sum(x) for x in there])).astype(np.int64)
        sizes = np.asarray([int(np.prod(v.shape)) for v in self.variables])
        rho = int(kept.sum()) / int(sizes.sum())
        net = {
            "target": 1.0,
            "actual": rho,
            "gap": 1.0 - rho,
            "after_update": None,
            "threshold": self._threshold,
            "scheduled": 0,
            "shed": 0,
        }
        return Reading(net, [], dict(zip(self.paths, (kept / sizes).tolist())))
