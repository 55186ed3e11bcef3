"""The variables in which a pruning group of Keras 3 keeps its masks, threshold and counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from tfshed.core.config import PruningConfig


@dataclasses.dataclass(frozen=True, eq=False)
class GroupState:
    """What a `PruningGroup` knows of its kernels, without the kernels themselves.

    The table of owners holds it, so that masks outlive the optimizer that made them; the kernels
    are the keys of that table and must not be held by its values.

    Attributes:
        config: how the kernels are pruned.
        scopes: the number of each kernel's scope.
        masks, threshold, target, step, counts, decay_threshold, events: the variables that
            `PruningGroup` describes.
        criterion: for each kernel the variables that the criterion keeps, by name.
    """

    config: PruningConfig
    scopes: list[int]
    masks: list[Any]
    threshold: Any
    target: Any
    step: Any
    counts: Any
    decay_threshold: Any
    events: Any
    criterion: list[dict[str, Any]]

    @property
    def variables(self) -> list[Any]:
        """All variables, the masks first, in the order in which they are saved."""
        return [
            *self.masks,
            self.threshold,
            self.target,
            self.step,
            self.counts,
            self.decay_threshold,
            self.events,
            *(variable for kernel in self.criterion for variable in kernel.values()),
        ]

    @property
    def carried(self) -> list[Any]:
        """What a group that continues takes over beside masks, threshold, target and counts."""
        return [self.decay_threshold, *(v for kernel in self.criterion for v in kernel.values())]


def make_state(
    config: PruningConfig,
    scopes: list[int],
    mask_shapes: Sequence[tuple[int, ...]],
    variables: Sequence[Any],
    add_variable: Callable[..., Any],
) -> GroupState:
    """Makes the variables of a group, in the order in which they are saved.

    Args:
        config: how the kernels are pruned.
        scopes: the number of each kernel's scope: 0, 1, ...
        mask_shapes: the shape of each kernel's mask.
        variables: the kernels.
        add_variable: the method of a Keras optimizer, which then saves the variables. With the
            argument `like` the new variable is laid out over devices as that kernel is.
    """
    n = scopes[-1] + 1
    return GroupState(
        config=config,
        scopes=scopes,
        masks=[
            add_variable(shape, initializer="ones", dtype="bool", name=f"mask_{i}", like=kernel)
            for i, (shape, kernel) in enumerate(zip(mask_shapes, variables))
        ],
        threshold=add_variable((n,), dtype="float32", name="threshold"),
        target=add_variable((), initializer="ones", dtype="float32", name="target"),
        step=add_variable((), dtype="int32", name="step"),
        counts=add_variable((3, n), dtype="int32", name="counts"),
        # Files that were written before know this variable by its first name.
        decay_threshold=add_variable((n,), dtype="float32", name="survives_above"),
        events=add_variable((2,), dtype="int32", name="events"),
        criterion=[
            {
                name: add_variable(shape, dtype="float32", name=f"{name}_{i}", like=kernel)
                for name in config.criterion.keeps
            }
            for i, (shape, kernel) in enumerate(zip(mask_shapes, variables))
        ],
    )
