"""`PruningGroup`: the kernels that are pruned by one configuration, with masks and thresholds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfshed.attach.events import HELD, REFUSED, count_event, problems
from tfshed.attach.first_values import first_values
from tfshed.attach.group_state import make_state
from tfshed.attach.kernels import Kernel
from tfshed.attach.saved_kernels import read_config
from tfshed.attach.shedding_limits import least_kept, thresholds_of_step
from tfshed.attach.starting import nonzero, start_of
from tfshed.core import criteria, engine
from tfshed.core.backend import cond, read, to_numpy
from tfshed.core.config import PruningConfig
from tfshed.core.counting import check_totals
from tfshed.core.granularity import Axes
from tfshed.core.schedules.due import sparsity_at_start, usable_sparsity, with_start


class PruningGroup:
    """Kernels that are pruned in the same way, with the state of their pruning.

    In each optimizer step `prune` is called before the inner optimizer and `shed` after it (with
    `monotone=False` both after it).

    Args:
        config: How the kernels are pruned.
        kernels: The kernels, at least one.
        hold_zeros: Whether weights that are zero at the start are held at zero. None (default)
            means what `config` says. Weights that pruning made zero are held in any case.

    Attributes:
        masks: One bool variable for each kernel, of the granularity's mask shape; True = kept.
        threshold: float32 variable (scopes,), the magnitudes below which weights are shed.
        target: float32 variable (), the target keep-ratio in force; 1 before the first update.
        step: int32 variable (), the last optimizer step in which `prune` was called.
        counts: int32 variable (3, scopes), in weights or blocks: how many were kept after the last
            update, how many the schedule has pruned since the start, and how many updates have
            found shed since the start.
        decay_threshold: float32 variable (scopes,), see `tfshed.core.engine.Totals`.
        events: int32 variable (2,), how often something went wrong since the start; `problems`
            tells it in sentences.
        criterion_state: For each kernel the variables that the criterion keeps, by name.
        totals: NumPy array (scopes,), how many weights (blocks) each scope has.
        position: How many weights (blocks) the groups before this one have, see
            `number_positions`.
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
        """Makes the variables, with an optimizer's `add_variable`, and begins (see `begin`)."""
        kernels = [k.variable for k in self.kernels]
        self.state = make_state(self.config, self.scopes, self.mask_shapes, kernels, add_variable)
        self.masks = self.state.masks
        self.threshold, self.target = self.state.threshold, self.state.target
        self.step, self.counts = self.state.step, self.state.counts
        self.decay_threshold, self.events = self.state.decay_threshold, self.state.events
        self.criterion_state = self.state.criterion
        self.begin(start)

    def begin(self, start: str = "auto") -> None:
        """Sets all variables but the step to the values with which pruning begins or continues.

        Args:
            start: "auto", "continue" or "again", see `tfshed.UpdatePruningStep`.
        """
        begins = start_of(self.config, self.kernels, start, self.hold_zeros)
        first = first_values(self.state, self.totals, begins)
        for mask, kept in zip(self.masks, begins.masks):
            mask.assign(kept)
        for variable, value in zip(self.state.carried, first.carried):
            variable.assign(value)
        self.threshold.assign(first.threshold)
        self.target.assign(first.target)
        self.counts.assign(first.counts)
        if start == "continue":
            self.write_zeros()

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
        # If the schedule gives no usable sparsity, such as NaN, this update is left out.
        usable, sparsity = usable_sparsity(sparsity)
        usable = ops.logical_and(due, usable)
        count_event(self.events, REFUSED, ops.cast(due, "int32") - ops.cast(usable, "int32"))
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

    @property
    def steps_held(self) -> int:
        """In how many steps the collapse guard held shedding back; reads the device once."""
        return int(to_numpy(self.events)[HELD])

    def problems(self) -> list[str]:
        """Returns what went wrong since the start, as sentences; reads the device once."""
        return problems(self.events, self.config)

    def shed(self, step: Any, masks: Sequence[Any]) -> None:
        """Sheds what fell below the threshold, and writes masks and exact zeros.

        A scope that would be left with less than the collapse guard leaves sheds nothing.
        """
        thresholds = None
        if self.sheds:
            guarded = self.config.collapse_guard > 0
            least = least_kept(self.config, self.totals, self.target) if guarded else None
            thresholds = thresholds_of_step(
                self.config, step, read(self.threshold), read(self.counts)[0], least
            )
            if guarded:
                masks, thresholds, held = engine.guarded(
                    self.config,
                    [read(k.variable) for k in self.kernels],
                    masks,
                    thresholds,
                    [k.axes for k in self.kernels],
                    self.scopes,
                    least,
                )
                count_event(self.events, HELD, ops.cast(ops.any(held), "int32"))
        for kernel, variable, mask, scope in zip(self.kernels, self.masks, masks, self.scopes):
            threshold = None if thresholds is None else thresholds[scope]
            mask, weight = engine.shed(
                self.config, read(kernel.variable), mask, threshold, kernel.axes
            )
            variable.assign(mask)
            if not self.config.observe:
                kernel.variable.assign(weight)

    def write_zeros(self) -> None:
        """Sets weights that the masks remove to exactly zero once more, unless it only observes."""
        if self.config.observe:
            return
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
        """Treats weights (blocks) that are zero now as pruned from now on.

        Raises:
            ValueError: the group only observes, and so can hold no zeros.
        """
        if self.config.observe:
            raise ValueError(
                "KeepZeros: expected kernels that are pruned or are not declared, received "
                f"{self.kernels[0].path}, declared with observe=True, which holds no weight at "
                "zero. Call strip_pruning(model) before."
            )
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
        """The gradient with which the inner optimizer steps kernel `i`.

        Args:
            i: The number of the kernel.
            grad: Its gradient, dense; selective weight decay is added to it.
            mask: Its mask in this step.
            masked: Whether the result is zero where the mask removes weights; a group that only
                observes leaves the gradient as it is.
        """
        kernel, config = self.kernels[i], self.config
        if config.weight_decay is not None:
            weight, gone = read(kernel.variable), read(self.decay_threshold)[self.scopes[i]]
            grad = grad + config.weight_decay.gradient(
                weight, gone, config.granularity, kernel.axes
            )
        if masked and not config.observe:
            keep = config.granularity.expand(mask, tuple(kernel.variable.shape), kernel.axes)
            grad = ops.where(keep, grad, ops.zeros((), dtype=grad.dtype))
        return grad

    def get_config(self, index_of: Callable[[Any], int]) -> dict[str, Any]:
        """The configuration and the kernels as JSON values.

        Args:
            index_of: gives the number of a kernel's variable among those of the optimizer.
        """
        kernels = [
            {
                "index": index_of(k.variable),
                "path": k.path,
                "shape": list(k.variable.shape),
                "axes": [k.axes.input, k.axes.output],
            }
            for k in self.kernels
        ]
        return {"config": keras.saving.serialize_keras_object(self.config), "kernels": kernels}

    @classmethod
    def from_config(cls, saved: dict[str, Any], variables: Sequence[Any]) -> PruningGroup:
        """The group that `get_config` wrote, on the variables of an optimizer.

        Args:
            saved: what `get_config` returned.
            variables: those that the optimizer is built with, in their order.

        Raises:
            ValueError: a variable is missing or has another shape than when the file was written.
        """
        kernels = []
        for entry in saved["kernels"]:
            variable = variables[entry["index"]] if entry["index"] < len(variables) else None
            if variable is None or list(variable.shape) != list(entry["shape"]):
                found = (
                    "no such variable"
                    if variable is None
                    else f"{variable.path} {tuple(variable.shape)}"
                )
                raise ValueError(
                    f"pruning state: expected trainable variable {entry['index']} to be "
                    f"{entry['path']} {tuple(entry['shape'])}, found {found}"
                )
            kernels.append(Kernel(variable, Axes(*entry["axes"]), entry["path"]))
        return cls(read_config(saved["config"], "pruning state"), kernels)


def number_positions(groups: Sequence[PruningGroup]) -> None:
    """Numbers the elements of all groups of a model through.

    The random criterion draws a number from each position; with the same positions two kernels
    would lose the same elements.
    """
    position = 0
    for group in groups:
        group.position = position
        position += int(group.totals.sum())
