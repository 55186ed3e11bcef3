"""The base of all schedules: how they are called, compared, checked and saved."""

from __future__ import annotations

import abc
import numbers
from typing import Any, ClassVar

import keras

from tfshed.core.arguments import check_number, check_whole
from tfshed.core.registry import Registry
from tfshed.core.schedules.step import close, open_step

SCHEDULES: Registry[type[PruningSchedule]] = Registry("pruning_schedule")
register = SCHEDULES.register


def unwrap(config: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Splits tfmot's form {"class_name": .., "config": ..}, which Keras may nest, in two."""
    name = None
    while isinstance(config.get("config"), dict) and "class_name" in config:
        name, config = config["class_name"].split(">")[-1], config["config"]
    return name, config


class PruningSchedule(abc.ABC):
    """Base of all schedules, which say when to prune and how much.

    A subclass must define `__call__(step)`, which returns `(should_prune, sparsity)`, and
    `get_config()`, which returns the constructor's arguments (tfmot's form
    `{"class_name": .., "config": ..}` is accepted too). `_should_prune_in_step`, `_validate_step`
    and `_validate_sparsity` take the same arguments as those of tfmot, so a subclass written for
    tfmot works after changing its import. To save models with it, register it with
    `keras.saving.register_keras_serializable`.

    Attributes:
        default_scope: The scope that is used if the user does not choose one. "global" counts the
            sparsity over all pruned layers together. PolynomialDecay and ConstantSparsity, whose
            names come from tfmot, have tfmot's meaning "layer": each layer by itself.

    >>> class Half(PruningSchedule):
    ...     def __call__(self, step):
    ...         return self._should_prune_in_step(step, 10, 25, 10), 0.5
    ...
    ...     def get_config(self):
    ...         return {}
    >>> [step for step in range(50) if Half()(step)[0]], Half().keep_ratio(10)
    ([10, 20, 25], 0.5)
    """

    default_scope: ClassVar[str] = "global"

    @abc.abstractmethod
    def __call__(self, step: Any) -> tuple[Any, Any]:
        """Returns `(should_prune, sparsity)` at `step`: a bool, and a float in [0, 1)."""

    @abc.abstractmethod
    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, all of them JSON values."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PruningSchedule:
        """Makes a schedule from the result of `get_config()` or from tfmot's nested form.

        If it is called on the base class, the "class_name" of the nested form decides which
        schedule is made.

        Raises:
            ValueError: "class_name" is no schedule, or not the class on which this is called.

        >>> PruningSchedule.from_config(
        ...     {"class_name": "OneShot", "config": {"final_sparsity": 0.5, "step": 10}}
        ... )
        OneShot(final_sparsity=0.5, step=10)
        """
        name, arguments = unwrap(config)
        if name is None or name == cls.__name__:
            return cls(**arguments)
        kind = keras.saving.get_registered_object(f"tfshed>{name}")
        if cls is not PruningSchedule or kind is None:
            wanted = "a schedule of tfshed" if cls is PruningSchedule else repr(cls.__name__)
            raise ValueError(f"expected class_name to be {wanted}, received {name!r}")
        return kind(**arguments)

    def keep_ratio(self, step: Any) -> Any:
        """Returns the target keep-ratio at `step`, 1 - sparsity."""
        return 1.0 - self(step)[1]

    def _should_prune_in_step(
        self, step: Any, begin_step: int, end_step: int, frequency: int
    ) -> Any:
        """Whether an update is due at `step`.

        Updates are due every `frequency` steps from `begin_step` on, and at `end_step`. If
        `end_step` is -1, they never end.
        """
        _, step = open_step(step)
        due = (step >= begin_step) & ((step - begin_step) % frequency == 0)
        if end_step >= 0:
            due = due & (step <= end_step) | (step == end_step)
        return close(due)

    def _validate_step(
        self, begin_step: Any, end_step: Any, frequency: Any, allow_negative_1: bool
    ) -> None:
        """Raises ValueError unless 0 <= begin_step <= end_step and frequency >= 1, all whole.

        If `allow_negative_1` is True, `end_step` may also be -1, which means that updates never
        end.
        """
        begin_step = check_whole("begin_step", begin_step, 0)
        for_ever = allow_negative_1 and isinstance(end_step, numbers.Real) and end_step == -1
        if not for_ever:
            end_step = check_whole("end_step", end_step, 0)
            if end_step < begin_step:
                raise ValueError(
                    f"expected end_step >= begin_step={begin_step}, received {end_step}"
                )
        check_whole("frequency", frequency, 1)

    def _validate_sparsity(self, sparsity: Any, variable_name: str) -> None:
        """Raises ValueError unless `sparsity` is a number in [0, 1)."""
        if not 0 <= check_number(variable_name, sparsity) < 1:
            raise ValueError(f"expected {variable_name} to be in [0, 1), received {sparsity!r}")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return unwrap(self.get_config()) == unwrap(other.get_config())

    def __hash__(self) -> int:
        # The config is not hashed, as it may hold lists. Equality distinguishes the rest.
        return hash(type(self))

    def __repr__(self) -> str:
        arguments = unwrap(self.get_config())[1]
        inside = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        return f"{type(self).__name__}({inside})"
