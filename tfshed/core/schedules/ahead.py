"""A schedule that runs ahead of another."""

from __future__ import annotations

from typing import Any

import keras

from tfshed.core.arguments import check_int
from tfshed.core.schedules import PruningSchedule


@keras.saving.register_keras_serializable(package="tfshed")
class Ahead(PruningSchedule):
    """Another schedule, `steps` steps early: Ahead(s, n)(step) = s(step + n).

    tfmot makes the masks of step n before it, of the weights that step n - 1 left; with
    `monotone=False` tfshed makes those of step n at its end. `Ahead(schedule)` with
    `monotone=False` and `scope="layer"` therefore has tfmot's masks, update by update, from step 2
    on. (What tfmot prunes at step 1, before anything was trained, `tfshed.sparsify` prunes.)

    Args:
        schedule: a pruning schedule, tfshed's or tfmot's.
        steps: int >= 0; default 1.

    Raises:
        ValueError: no schedule, or steps no int >= 0.

    >>> from tfshed import ConstantSparsity
    >>> schedule = Ahead(ConstantSparsity(0.5, begin_step=10, frequency=5))
    >>> [step for step in range(20) if schedule(step)[0]]
    [9, 14, 19]
    """

    def __init__(self, schedule: Any, steps: int = 1) -> None:
        if not callable(schedule) or not hasattr(schedule, "get_config"):
            raise ValueError(f"schedule: expected a pruning schedule, received {schedule!r}")
        check_int("steps", steps, 0)
        self.schedule, self.steps = schedule, int(steps)
        # An instance's: the scope is that of the schedule it runs ahead of.
        self.default_scope = getattr(schedule, "default_scope", "layer")  # type: ignore[misc]

    @property
    def final_sparsity(self) -> Any:
        """Where the schedule ends; None where it does not say."""
        target = getattr(self.schedule, "target_sparsity", None)
        return getattr(self.schedule, "final_sparsity", target)

    def __call__(self, step: Any) -> tuple[Any, Any]:
        return self.schedule(step + self.steps)

    def get_config(self) -> dict[str, Any]:
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "steps": self.steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Ahead:
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(schedule, config["steps"])
