"""A schedule that does everything a number of steps earlier than another one."""

from __future__ import annotations

from typing import Any

import keras

from tfshed.core.arguments import check_int
from tfshed.core.schedules import PruningSchedule


# Files know this class by its first name.
@keras.saving.register_keras_serializable(package="tfshed", name="Ahead")
class EarlierSchedule(PruningSchedule):
    """Another schedule, moved to an earlier time: EarlierSchedule(s, n)(step) = s(step + n).

    It serves to compare with tfmot. tfmot chooses the masks of step n before that step, by the
    weights that step n - 1 left. With `monotone=False`, tfshed chooses the masks of step n at its
    end. So `EarlierSchedule(schedule)` with `monotone=False` and `scope="layer"` gives the same
    masks as tfmot, update by update, from step 2 on. What tfmot prunes at step 1, before any
    training, can be pruned with `tfshed.sparsify`.

    Args:
        schedule: A pruning schedule of tfshed or tfmot.
        steps: By how many steps it is moved, >= 0. Default 1.

    Raises:
        ValueError: `schedule` is no schedule, or `steps` no int >= 0.

    >>> from tfshed import ConstantSparsity
    >>> schedule = EarlierSchedule(ConstantSparsity(0.5, begin_step=10, frequency=5), steps=2)
    >>> [step for step in range(20) if schedule(step)[0]]
    [8, 13, 18]
    """

    def __init__(self, schedule: Any, steps: int = 1) -> None:
        if not callable(schedule) or not hasattr(schedule, "get_config"):
            raise ValueError(f"schedule: expected a pruning schedule, received {schedule!r}")
        check_int("steps", steps, 0)
        self.schedule, self.steps = schedule, int(steps)
        # Set on the instance, as it is that of the other schedule.
        self.default_scope = getattr(schedule, "default_scope", "layer")  # type: ignore[misc]

    @property
    def final_sparsity(self) -> Any:
        """The sparsity that the schedule ends with; None if it does not say."""
        target = getattr(self.schedule, "target_sparsity", None)
        return getattr(self.schedule, "final_sparsity", target)

    def __call__(self, step: Any) -> tuple[Any, Any]:
        return self.schedule(step + self.steps)

    def get_config(self) -> dict[str, Any]:
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "steps": self.steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> EarlierSchedule:
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(schedule, config["steps"])
