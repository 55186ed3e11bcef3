"""The kernels of a tf_keras model that are pruned together: `PruningGroup` on tfmot's wrappers."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops

from tfshed.attach.events import REFUSED, count_event
from tfshed.attach.gradients import gradients_for_criterion
from tfshed.attach.group import PruningGroup
from tfshed.attach.starting import goes_on, new_mask
from tfshed.attach.tf_keras.slots import slots_of
from tfshed.attach.tf_keras.state import Member
from tfshed.core import engine
from tfshed.core.backend import cond, to_numpy
from tfshed.core.schedules.due import usable_sparsity, with_start


class WrapperGroup(PruningGroup):
    """Prunes and sheds as `PruningGroup`, with its state in the wrappers' variables.

    With `monotone=False` an update is exactly tfmot's: the masks of step n rank the weights that
    step n - 1 left, pruned weights with the values that the optimizer gave them, and m-by-n masks
    are made once, for step 1. With `monotone=True` an update is that of Keras 3.

    Under a strategy each replica computes its own masks from its own copy of the weights. The
    copies are equal, hence so are the masks, and nothing is sent between devices.

    Args:
        members: The kernels with their variables, at least one, all of one configuration.
    """

    def __init__(self, members: Sequence[Member]):
        super().__init__(members[0].wrapper.config, [m.kernel for m in members])
        self.members = list(members)
        self.states = [m.state for m in members]
        self.wrappers = list({id(m.wrapper): m.wrapper for m in members}.values())
        self.masks = [s.mask for s in self.states]
        # Each kernel of a scope holds the numbers of the scope; those of the first one are read.
        self._holders = [self.states[self.scopes.index(s)] for s in range(len(self.totals))]
        if not self.config.monotone:
            # In tfmot no update is ever due at step 0.
            self.at_start = None
        self.criterion_state = [s.criterion for s in self.states]
        self._seen: tuple[Any, Any] = (None, None)
        strategy = getattr(self.kernels[0].variable, "distribute_strategy", None)
        with strategy.scope() if strategy is not None else contextlib.nullcontext():
            self.events = tf.Variable([0, 0], trainable=False, name="events")

    @property
    def threshold(self) -> Any:
        return tf.stack([tf.convert_to_tensor(s.threshold) for s in self._holders])

    @property
    def counts(self) -> Any:
        rows = [tf.convert_to_tensor(s.counts) for s in self._holders]
        return tf.stack(rows, axis=1)

    @property
    def decay_threshold(self) -> Any:
        return tf.stack([tf.convert_to_tensor(s.survives_above) for s in self._holders])

    @property
    def target(self) -> Any:
        return self.wrappers[0].pruning_target

    @property
    def step(self) -> Any:
        """Optimizer steps done: int64 variable."""
        return self.wrappers[0].pruning_step

    def start(self, step: int, start: str = "auto") -> None:
        """Makes the masks before training, or continues with those of an earlier run.

        It must be called outside of any `tf.function`.

        Args:
            step: The optimizer steps done, from which a run that begins anew counts.
            start: "auto", "continue" or "again", see `tfshed.UpdatePruningStep`.
        """
        steps = {id(w): int(to_numpy(w.pruning_step)) for w in self.wrappers}
        before = [m for m in self.members if steps[id(m.wrapper)] >= 0]
        known = [(m.kernel, to_numpy(m.state.mask)) for m in before]
        if goes_on(self.config, known, start):
            # Layers that were frozen until now count the steps of the others.
            self._count_steps(max(steps.values()))
            target = min(float(to_numpy(m.wrapper.pruning_target)) for m in before)
            for wrapper in self.wrappers:
                wrapper.pruning_target.assign(target)
            self._begin([m for m in self.members if steps[id(m.wrapper)] < 0], [])
            if start == "continue":
                self.write_zeros()
            return
        # The step before training counts as 0, in a wrapper that was loaded as well.
        self._count_steps(step if before else 0)
        for wrapper in self.wrappers:
            wrapper.pruning_target.assign(1.0)
        for state in self.states:
            state.threshold.assign(self.config.threshold)
            state.survives_above.assign(0.0)
        self._begin(self.members, before)
        # A criterion that looks at gradients has none yet.
        if not self.config.monotone and not before and not self.needs:
            self.prune(tf.constant(1))
            self.write_zeros()

    def _begin(self, members: Sequence[Member], before: Sequence[Member]) -> None:
        """Makes new masks for some kernels, of which some were pruned in a run before."""
        if not members:
            return
        new = {id(m.kernel.variable) for m in members}
        known = {id(m.kernel.variable) for m in before}
        kept = np.zeros(len(self.totals), "int32")
        for member, scope in zip(self.members, self.scopes):
            number = id(member.kernel.variable)
            if number in new:
                old = to_numpy(member.state.mask) if number in known else None
                mask = new_mask(self.config, member.kernel, old, self.config.hold_zeros)
                member.state.mask.assign(mask)
                member.state.threshold.assign(self._holders[scope].threshold)
            kept[scope] += int(to_numpy(member.state.mask).sum())
        for state, scope in zip(self.states, self.scopes):
            state.counts.assign([kept[scope], 0, 0])

    def _count_steps(self, step: Any) -> None:
        for wrapper in self.wrappers:
            wrapper.pruning_step.assign(tf.cast(step, tf.int64))

    def _due(self, step: Any) -> tuple[Any, Any]:
        due, sparsity = self.config.schedule(step)
        sparsity = tf.cast(sparsity, tf.float32)
        if not self.config.monotone and not self.config.granularity.follows_schedule:
            return tf.equal(step, 1), sparsity
        return with_start(self.at_start, step, due, sparsity)

    def prune(self, step: Any, gradients: Any = None, slots: Any = None) -> list[Any]:
        """Makes the masks for step `step`, if the schedule has an update there; writes them."""
        due, sparsity = self._due(step)
        # If the schedule gives no usable sparsity, such as NaN, this update is left out.
        usable, sparsity = usable_sparsity(sparsity)
        usable = tf.logical_and(due, usable)
        count_event(self.events, REFUSED, tf.cast(due, tf.int32) - tf.cast(usable, tf.int32))
        kernels = self._observe(tf.cast(step, tf.int32), gradients, slots)

        def now() -> Any:
            counts = self.counts
            masks, after = engine.update(
                self.config,
                kernels,
                [tf.convert_to_tensor(m) for m in self.masks],
                self.scopes,
                engine.Totals(
                    self.threshold, counts[0], counts[1], counts[2], self.decay_threshold
                ),
                sparsity,
            )
            counts = tf.stack([after.kept, after.scheduled, after.shed], axis=1)
            for state, mask, scope in zip(self.states, masks, self.scopes):
                state.mask.assign(mask)
                state.threshold.assign(after.threshold[scope])
                state.counts.assign(counts[scope])
                state.survives_above.assign(after.decay_threshold[scope])
            for wrapper in self.wrappers:
                wrapper.pruning_target.assign(1.0 - sparsity)
            return ops.zeros(())

        cond(usable, now, lambda: ops.zeros(()))
        return self.masks

    def _see(self, optimizer: Any, pairs: list[tuple[Any, Any]]) -> tuple[Any, Any]:
        """What the criterion needs of each kernel: gradients and slots."""
        slots, gradients = None, None
        if "slots" in self.needs:
            slots = slots_of(optimizer, [k.variable for k in self.kernels])
        if "gradient" in self.needs:
            given = {id(variable): grad for grad, variable in pairs}
            gradients = gradients_for_criterion(self.kernels, given, id)
        return gradients, slots

    def before(
        self, pairs: list[tuple[Any, Any]], masked: bool, optimizer: Any = None
    ) -> list[tuple[Any, Any]]:
        """Runs at the start of an optimizer step; returns the pairs with which it is to step.

        Args:
            pairs: The gradients and their variables, as the optimizer was given them.
            masked: Whether the gradients of pruned weights are to be zero.
            optimizer: The optimizer, whose slots a criterion may need.
        """
        self._seen = self._see(optimizer, pairs)
        if self.config.monotone:
            self.prune(tf.cast(self.step, tf.int32) + 1, *self._seen)
        masked = masked and self.config.monotone and not self.config.observe
        if not masked and self.config.weight_decay is None:
            return pairs
        slots = {id(k.variable): i for i, k in enumerate(self.kernels)}
        # Keras adds the replicas' gradients up.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        result = []
        for grad, variable in pairs:
            i = slots.get(id(variable))
            if i is not None and grad is not None and not isinstance(grad, tf.IndexedSlices):
                mask = tf.convert_to_tensor(self.masks[i])
                grad = self.gradient(i, grad * replicas, mask, masked) / replicas
            result.append((grad, variable))
        return result

    def prune_by_wrapper_step(self) -> None:
        """An update outside of an optimizer step, if one is due at the wrappers' step.

        tfmot's `conditional_mask_update` asks for it. Before training the step is -1, and nothing
        is due. Unlike tfmot this writes the zeros at once, so that masks and weights agree.
        """

        def now() -> Any:
            self.prune(tf.cast(self.step, tf.int32))
            self.write_zeros()
            return ops.zeros(())

        cond(self.step >= 0, now, lambda: ops.zeros(()))

    def after(self) -> None:
        """Runs at the end of an optimizer step: sheds, and sets pruned weights to exactly zero."""
        step = tf.cast(self.step, tf.int32) + 1
        self._count_steps(step)
        if self.config.monotone:
            self.shed(step, self.masks)
        else:
            self.prune(step + 1, *self._seen)
            self.write_zeros()
