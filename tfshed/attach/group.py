"""The kernels that are pruned by one configuration, with their masks and thresholds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfshed.attach.kernels import Kernel
from tfshed.attach.ownership import GroupState
from tfshed.attach.starting import nonzero, start_of
from tfshed.core import criteria, engine
from tfshed.core.backend import cond, read, to_numpy
from tfshed.core.config import PruningConfig
from tfshed.core.counting import check_totals
from tfshed.core.schedules.due import sparsity_at_start, usable_sparsity, with_start

# The elements of `PruningGroup.events`: steps in which the collapse guard held shedding back, and
# updates at which the schedule gave no sparsity.
HELD, REFUSED = 0, 1


class PruningGroup:
    """State of one configuration: masks, threshold, counts; `prune` and `shed` move it on.

    Args:
        config: how to prune.
        kernels: what to prune; at least one.
        hold_zeros: whether weights that are zero at the start are held; default: as `config` says.
            Those that pruning took are held in any case.

    Attributes:
        masks: one bool variable for each kernel, of the granularity's mask shape; True = kept.
        threshold: float32 variable (scopes,), the shedding threshold.
        target: float32 variable (), the target keep-ratio in force: 1 before the first update.
        step: int32 variable (), the last optimizer step that was looked at.
        counts: int32 variable (3, scopes): kept after the last update; pruned by the schedule, and
            found shed at updates, since the start. In weights, or blocks.
        events: int32 variable (2,), what went wrong since the start, see `problems`.
        criterion_state: for each kernel the variables that the criterion keeps, by name.
        totals: numpy (scopes,), how many weights (blocks) there are.
        position: how many elements the groups before this one have, see `number_positions`.
    """

    def __init__(
        self,
        config: PruningConfig,
        kernels: Sequence[Kernel],
        hold_zeros: bool | None = None,
    ):
        if not kernels:
            raise ValueError("expected at least one kernel to prune, received none")
        self.config, self.kernels = config, list(kernels)
        self.hold_zeros = config.hold_zeros if hold_zeros is None else hold_zeros
        one = config.scope == "global"
        self.scopes = [0 if one else i for i in range(len(self.kernels))]
        self.mask_shapes = [
            config.granularity.mask_shape(tuple(k.variable.shape), k.axes) for k in self.kernels
        ]
        self.totals = np.zeros(self.scopes[-1] + 1, np.int64)
        np.add.at(self.totals, self.scopes, [int(np.prod(s)) for s in self.mask_shapes])
        check_totals(self.totals, config.granularity)
        self.position = 0
        self.at_start = sparsity_at_start(config.schedule)
        self.sheds = config.threshold > 0

    def build(self, add_variable: Callable[..., Any], start: str = "auto") -> None:
        """Makes the state, with an optimizer's `add_variable`, and begins (see `begin`)."""
        n = len(self.totals)
        self.masks = [
            add_variable(shape, initializer="ones", dtype="bool", name=f"mask_{i}")
            for i, shape in enumerate(self.mask_shapes)
        ]
        self.threshold = add_variable((n,), dtype="float32", name="threshold")
        self.target = add_variable((), initializer="ones", dtype="float32", name="target")
        self.step = add_variable((), dtype="int32", name="step")
        self.counts = add_variable((3, n), dtype="int32", name="counts")
        # The names of variables are those of files that were written before.
        self.decay_threshold = add_variable((n,), dtype="float32", name="survives_above")
        self.events = add_variable((2,), dtype="int32", name="events")
        self.criterion_state = [
            {
                name: add_variable(shape, dtype="float32", name=f"{name}_{i}")
                for name in self.config.criterion.keeps
            }
            for i, shape in enumerate(self.mask_shapes)
        ]
        self.state = GroupState(
            self.config,
            self.scopes,
            self.masks,
            self.threshold,
            self.target,
            self.step,
            self.counts,
            self.decay_threshold,
            self.events,
            self.criterion_state,
        )
        self.begin(start)

    def begin(self, start: str = "auto") -> None:
        """Sets the masks, and all else but the step, as `start_of` says.

        Args:
            start: "auto", "continue" or "again", see `tfshed.UpdatePruningStep`.
        """
        first = start_of(self.config, self.kernels, start, self.hold_zeros)
        kept = np.zeros(len(self.totals), np.int64)
        for mask, value, scope in zip(self.masks, first.masks, self.scopes):
            mask.assign(value)
            kept[scope] += int(value.sum())
        counts = np.stack([kept, np.zeros_like(kept), np.zeros_like(kept)])
        thresholds = np.full((len(self.totals),), self.config.threshold, "float32")
        target = np.float32(1.0)
        carried = [np.zeros(tuple(v.shape), "float32") for v in self.state.carried]
        known = [owner for owner in first.owners if owner is not None]
        newest = max(known, key=lambda owner: owner.number, default=None)
        if newest is not None and newest.state.config.key() == self.config.key():
            old = newest.state
            target = to_numpy(old.target)
            # Kernels that were frozen meanwhile have the threshold of the others, where all share
            # one; and what is gone of them counts as pruned by the schedule.
            if self.config.scope == "global":
                thresholds[:] = to_numpy(old.threshold)
            else:
                for scope, owner in zip(self.scopes, first.owners):
                    if owner is not None:
                        thresholds[scope] = owner.threshold
            counts[1] = self.totals - kept
            same = [o is not None and o.state is old for o in first.owners]
            if all(same) and len(same) == len(old.masks):
                counts = to_numpy(old.counts)
                carried = [to_numpy(v) for v in old.carried]
        for variable, value in zip(self.state.carried, carried):
            variable.assign(value)
        self.threshold.assign(thresholds)
        self.target.assign(target)
        self.counts.assign(counts.astype("int32"))
        if start == "continue":
            self.zero()

    @property
    def needs(self) -> tuple[str, ...]:
        """What the criterion looks at besides weights: "gradient", "slots"."""
        return self.config.criterion.needs

    def prune(
        self,
        step: Any,
        gradients: Sequence[Any] | None = None,
        slots: Sequence[Mapping[str, Any]] | None = None,
    ) -> list[Any]:
        """Returns the masks after the schedule's update for `step`, if one is due; writes all else.

        Args:
            step: int32 scalar, optimizer steps done, this one included.
            gradients: one for each kernel, dense, where `needs` names it.
            slots: the inner optimizer's variables of each kernel by name, where `needs` names them.
        """
        new_step = step > read(self.step)
        due, sparsity = self.config.schedule(step)
        due, sparsity = with_start(self.at_start, step, due, ops.cast(sparsity, "float32"))
        due = ops.logical_and(due, new_step)
        # A schedule that gives no sparsity changes nothing.
        usable, sparsity = usable_sparsity(sparsity)
        usable = ops.logical_and(due, usable)
        self._report(REFUSED, ops.cast(due, "int32") - ops.cast(usable, "int32"))
        kernels = self._observe(step, gradients, slots)
        counts = read(self.counts)
        before = engine.Totals(
            read(self.threshold), counts[0], counts[1], counts[2], read(self.decay_threshold)
        )

        def now() -> Any:
            masks, after = engine.update(
                self.config, kernels, self.masks, self.scopes, before, sparsity
            )
            return masks, tuple(after)

        masks, after = cond(usable, now, lambda: ([read(m) for m in self.masks], tuple(before)))
        after = engine.Totals(*after)
        self.threshold.assign(after.threshold)
        self.counts.assign(ops.stack([after.kept, after.scheduled, after.shed]))
        self.decay_threshold.assign(after.decay_threshold)
        self.target.assign(ops.where(usable, 1.0 - sparsity, read(self.target)))
        self.step.assign(step)
        return list(masks)

    def _observe(
        self, step: Any, gradients: Sequence[Any] | None, slots: Any
    ) -> list[criteria.Context]:
        """What the criterion sees of each kernel, once it has looked at this step."""
        kernels = engine.contexts(
            self.config,
            [k.variable for k in self.kernels],
            [k.axes for k in self.kernels],
            step,
            self.position,
            gradients if "gradient" in self.needs else None,
            slots if "slots" in self.needs else None,
            self.criterion_state,
        )
        if self.config.criterion.keeps:
            for kernel, state in zip(kernels, self.criterion_state):
                kernel.state = {name: read(v) for name, v in state.items()}
                kernel.state = {**kernel.state, **self.config.criterion.observe(kernel)}
                for name, variable in state.items():
                    variable.assign(kernel.state[name])
        return kernels

    def _report(self, event: int, times: Any) -> None:
        self.events.assign(read(self.events) + ops.cast(np.arange(2) == event, "int32") * times)

    def problems(self) -> list[str]:
        """Returns what went wrong since the start, as sentences; no work inside a step."""
        found = []
        held, refused = to_numpy(self.events).tolist()
        if held:
            found.append(
                "shedding would have taken nearly all that is left: it was left out in some steps "
                f"(collapse_guard={self.config.collapse_guard}). A lower learning rate, momentum "
                "or threshold, or grow_threshold=False, sheds less."
            )
        if refused:
            found.append(
                "pruning_schedule: expected a sparsity in [0, 1) at every update, received another "
                f"number from {self.config.schedule!r}; these updates were left out"
            )
        return found

    def shed(self, step: Any, masks: Sequence[Any]) -> None:
        """Sheds what fell below the threshold, and writes masks and exact zeros.

        A scope that would be left with less than the collapse guard leaves sheds nothing.
        """
        thresholds = None
        if self.sheds:
            thresholds = self._thresholds(step)
            if self.config.collapse_guard:
                masks, thresholds, held = engine.guarded(
                    self.config,
                    [read(k.variable) for k in self.kernels],
                    masks,
                    thresholds,
                    [k.axes for k in self.kernels],
                    self.scopes,
                    self._floor(),
                )
                self._report(HELD, ops.cast(ops.any(held), "int32"))
        for kernel, variable, mask, scope in zip(self.kernels, self.masks, masks, self.scopes):
            threshold = None if thresholds is None else thresholds[scope]
            mask, weight = engine.shed(
                self.config, read(kernel.variable), mask, threshold, kernel.axes
            )
            variable.assign(mask)
            kernel.variable.assign(weight)

    def _thresholds(self, step: Any) -> Any:
        """The threshold of each scope, 0 where nothing is to be shed in this step."""
        thresholds = read(self.threshold)
        if self.config.shed_every > 1:
            thresholds = ops.where(step % self.config.shed_every == 0, thresholds, 0.0)
        if self.config.collapse_guard:
            # A net that came with less than the guard leaves sheds nothing more.
            thresholds = ops.where(read(self.counts)[0] > self._floor(), thresholds, 0.0)
        return thresholds

    def _floor(self) -> Any:
        """How many elements of each scope the collapse guard leaves: int32, at least 1."""
        guard, final = self.config.collapse_guard, self.config.final_sparsity
        if final is not None:
            floor = np.maximum(np.floor(guard * (1.0 - final) * self.totals), 1)
            return ops.convert_to_tensor(floor.astype("int32"))
        floor = guard * read(self.target) * ops.convert_to_tensor(self.totals.astype("float32"))
        return ops.maximum(ops.cast(floor, "int32"), 1)

    def zero(self) -> None:
        """Writes exact zeros under the masks once more."""
        for kernel, mask in zip(self.kernels, self.masks):
            _, weight = engine.shed(
                self.config, read(kernel.variable), read(mask), None, kernel.axes
            )
            kernel.variable.assign(weight)

    @property
    def variables(self) -> list[Any]:
        """All variables of the state, in the order in which they are made."""
        return self.state.variables

    def hold_present_zeros(self) -> None:
        """Takes weights (blocks) that are zero now for pruned ones."""
        counts = to_numpy(self.counts).copy()
        for kernel, mask, scope in zip(self.kernels, self.masks, self.scopes):
            before = to_numpy(mask)
            now = np.logical_and(before, nonzero(self.config, kernel))
            counts[0, scope] -= int(before.sum() - now.sum())
            mask.assign(now)
        self.counts.assign(counts)

    def restricted_to(self, kernels: Sequence[Kernel]) -> PruningGroup:
        """A group of the same configuration on some of the kernels."""
        return PruningGroup(self.config, kernels, self.hold_zeros)

    def mask_of(self, i: int) -> Any:
        """The mask of kernel `i`, at the kernel's shape: bool tensor."""
        kernel = self.kernels[i]
        shape = tuple(kernel.variable.shape)
        return self.config.granularity.expand(read(self.masks[i]), shape, kernel.axes)

    def gradient(self, i: int, grad: Any, mask: Any, masked: bool) -> Any:
        """The gradient of kernel `i`: with selective weight decay, zero under the mask if asked."""
        kernel, config = self.kernels[i], self.config
        if config.weight_decay is not None:
            weight, gone = read(kernel.variable), read(self.decay_threshold)[self.scopes[i]]
            grad = grad + config.weight_decay.gradient(
                weight, gone, config.granularity, kernel.axes
            )
        if masked:
            keep = config.granularity.expand(mask, tuple(kernel.variable.shape), kernel.axes)
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


def number_positions(groups: Sequence[PruningGroup]) -> None:
    """Gives every group of a model positions of its own, so that no two kernels draw alike."""
    position = 0
    for group in groups:
        group.position = position
        position += int(group.totals.sum())
