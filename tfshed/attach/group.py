"""The kernels that are pruned by one configuration, with their masks and thresholds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfshed.attach.kernels import Kernel
from tfshed.attach.ownership import GroupState, owner_of
from tfshed.core import engine
from tfshed.core.backend import cond, live, to_numpy
from tfshed.core.config import PruningConfig


class PruningGroup:
    """State of one configuration: masks, threshold, counts; `prune` and `shed` move it on.

    Args:
        config: how to prune.
        kernels: what to prune; at least one.
        empty_is_pruned: whether a kernel of nothing but zeros was pruned away as a whole, or is yet
            to be trained (False, default).

    Attributes:
        masks: one bool variable for each kernel, of the granularity's mask shape; True = kept.
        threshold: float32 variable (scopes,), the shedding threshold theta.
        target: float32 variable (), the target keep-ratio in force: 1 before the first update.
        step: int32 variable (), the last optimizer step that was looked at.
        counts: int32 variable (3, scopes): kept after the last update; pruned by the schedule, and
            found shed at updates, since the start. In weights, or blocks.
        totals: numpy (scopes,), how many weights (blocks) there are.
    """

    def __init__(
        self, config: PruningConfig, kernels: Sequence[Kernel], empty_is_pruned: bool = False
    ):
        if not kernels:
            raise ValueError("expected at least one kernel to prune, received none")
        self.config, self.kernels = config, list(kernels)
        self.empty_is_pruned = empty_is_pruned
        one = config.scope == "global"
        self.scopes = [0 if one else i for i in range(len(self.kernels))]
        self.mask_shapes = [
            config.granularity.mask_shape(tuple(k.variable.shape), k.axes) for k in self.kernels
        ]
        self.totals = np.zeros(self.scopes[-1] + 1, np.int64)
        np.add.at(self.totals, self.scopes, [int(np.prod(s)) for s in self.mask_shapes])
        # What is due at step 0, before training, is done in the first step.
        due, sparsity = config.schedule(0)
        self._at_start = float(np.asarray(ops.convert_to_numpy(sparsity))) if due else None
        self.sheds = config.threshold > 0
        final = config.final_sparsity
        self._floor = (
            np.floor(config.collapse_guard * (1.0 - final) * self.totals).astype("int32")
            if final is not None
            else np.zeros(len(self.totals), "int32")
        )

    def build(self, add_variable: Callable[..., Any]) -> None:
        """Makes the state, with an optimizer's `add_variable`.

        Weights that are zero already are pruned already: that is the mask of a pruned model that
        was saved without its optimizer. A kernel pruned before in this process keeps its masks and
        threshold through a new `compile`.
        """
        n = len(self.totals)
        self.masks = [
            add_variable(shape, initializer="ones", dtype="bool", name=f"mask_{i}")
            for i, shape in enumerate(self.mask_shapes)
        ]
        self.threshold = add_variable((n,), dtype="float32", name="threshold")
        self.target = add_variable((), initializer="ones", dtype="float32", name="target")
        self.step = add_variable((), dtype="int32", name="step")
        self.counts = add_variable((3, n), dtype="int32", name="counts")
        self.survives_above = add_variable((n,), dtype="float32", name="survives_above")
        self.threshold.assign(np.full((n,), self.config.threshold, "float32"))
        kept = np.zeros((3, n), "int32")
        for kernel, mask, scope in zip(self.kernels, self.masks, self.scopes):
            present = self._present(kernel)
            if not present.all():
                mask.assign(present)
            kept[0, scope] += int(present.sum())
        self.counts.assign(kept)
        self.state = GroupState(
            self.config,
            self.scopes,
            self.masks,
            self.threshold,
            self.target,
            self.step,
            self.counts,
            self.survives_above,
        )
        self._adopt()

    def _present(self, kernel: Kernel) -> np.ndarray:
        weight = to_numpy(kernel.variable)
        if not weight.any() and not self.empty_is_pruned:
            if self.sheds:
                warnings.warn(
                    f"{kernel.path} is all zeros: every weight lies below the threshold "
                    f"{self.config.threshold} and is shed in the first step. Leave the layer out "
                    "(select=...), or train it first.",
                    stacklevel=2,
                )
            return np.ones(self.config.granularity.mask_shape(weight.shape, kernel.axes), bool)
        return np.asarray(to_numpy(self.config.granularity.scores(live(weight), kernel.axes)) != 0)

    def _adopt(self) -> None:
        """Takes threshold and target over from the group that pruned these kernels before."""
        owners = [owner_of(k.variable) for k in self.kernels]
        before = {id(owner.state): owner.state for owner in owners if owner is not None}
        old = next(iter(before.values())) if len(before) == 1 and None not in owners else None
        if (
            old is None
            or old.config.key() != self.config.key()
            or len(old.masks) != len(self.masks)
        ):
            return
        for mine, theirs in zip(
            self.state.variables[len(self.masks) :], old.variables[len(old.masks) :]
        ):
            if mine is not self.step:
                mine.assign(to_numpy(theirs))
        for mine, theirs in zip(self.masks, old.masks):
            mine.assign(np.logical_and(to_numpy(mine), to_numpy(theirs)))

    def prune(self, step: Any) -> list[Any]:
        """The masks after the schedule's update for `step`, if one is due; writes all else.

        Args:
            step: int32 scalar, optimizer steps done, this one included.
        """
        new_step = step > live(self.step)
        due, sparsity = self.config.schedule(step)
        sparsity = ops.cast(sparsity, "float32")
        if self._at_start is not None:
            first = ops.logical_and(step == 1, ops.logical_not(due))
            sparsity = ops.where(first, self._at_start, sparsity)
            due = ops.logical_or(due, first)
        due = ops.logical_and(due, new_step)
        counts = live(self.counts)
        state = engine.State(
            live(self.threshold), counts[0], counts[1], counts[2], live(self.survives_above)
        )

        def now() -> Any:
            masks, after = engine.update(
                self.config,
                [k.variable for k in self.kernels],
                self.masks,
                [k.axes for k in self.kernels],
                self.scopes,
                state,
                sparsity,
                step,
            )
            return masks, tuple(after)

        masks, after = cond(due, now, lambda: ([live(m) for m in self.masks], tuple(state)))
        after = engine.State(*after)
        self.threshold.assign(after.theta)
        self.counts.assign(ops.stack([after.kept, after.scheduled, after.shed]))
        self.survives_above.assign(after.survives_above)
        self.target.assign(ops.where(due, 1.0 - sparsity, live(self.target)))
        self.step.assign(step)
        return list(masks)

    def shed(self, step: Any, masks: Sequence[Any]) -> None:
        """Sheds what fell below the threshold, and writes masks and exact zeros."""
        theta = None
        if self.sheds:
            look = live(self.counts)[0] > ops.convert_to_tensor(self._floor)
            if self.config.shed_every > 1:
                look = ops.logical_and(look, step % self.config.shed_every == 0)
            theta = ops.where(look, live(self.threshold), 0.0)
        for kernel, variable, mask, scope in zip(self.kernels, self.masks, masks, self.scopes):
            limit = None if theta is None else theta[scope]
            mask, weight = engine.shed(self.config, live(kernel.variable), mask, limit, kernel.axes)
            variable.assign(mask)
            kernel.variable.assign(weight)

    def zero(self) -> None:
        """Writes exact zeros under the masks once more."""
        for kernel, mask in zip(self.kernels, self.masks):
            _, weight = engine.shed(
                self.config, live(kernel.variable), live(mask), None, kernel.axes
            )
            kernel.variable.assign(weight)

    def mask_of(self, i: int) -> Any:
        """The mask of kernel `i`, at the kernel's shape: bool tensor."""
        kernel = self.kernels[i]
        shape = tuple(kernel.variable.shape)
        return self.config.granularity.spread(live(self.masks[i]), shape, kernel.axes)

    def gradient(self, i: int, grad: Any, mask: Any, masked: bool) -> Any:
        """The gradient of kernel `i`: with selective weight decay, zero under the mask if asked."""
        kernel, config = self.kernels[i], self.config
        if config.weight_decay is not None:
            weight, above = live(kernel.variable), live(self.survives_above)[self.scopes[i]]
            grad = grad + config.weight_decay.gradient(
                weight, above, config.granularity, kernel.axes
            )
        if masked:
            keep = config.granularity.spread(mask, tuple(kernel.variable.shape), kernel.axes)
            grad = ops.where(keep, grad, ops.zeros((), dtype=grad.dtype))
        return grad

    def get_config(self, index_of: Callable[[Any], int]) -> dict[str, Any]:
        put = keras.saving.serialize_keras_object
        kernels = [
            {
                "index": index_of(k.variable),
                "path": k.path,
                "shape": list(k.variable.shape),
                "axes": [k.axes.input, k.axes.output],
            }
            for k in self.kernels
        ]
        return {"config": put(self.config), "kernels": kernels}
