"""Which learning rates a recipe can name, and how more are added."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from tfshed.core.backend import to_numpy
from tfshed.core.import_folder import import_folder
from tfshed.core.registry import Registry


@dataclasses.dataclass(frozen=True)
class RateSettings:
    """What a recipe says about the learning rate of a phase; what a maker is given.

    Attributes:
        values: rates, > 0, already scaled with the batch where the recipe says so.
        milestones: epochs at which the next value begins.
        cycle: epochs of a cycle.
        final: the rate at the end of the phase, where the schedule has one, scaled like `values`.
        epochs: of the phase.
        steps_per_epoch: optimizer updates in an epoch.
        options: what else the recipe says in `learning_rate.options`.
        base: the rate of the phase `train` with the steps of this phase's epochs; None in that
            phase itself.
        base_epochs: of the phase `train`.
    """

    values: tuple[float, ...]
    milestones: tuple[float, ...]
    cycle: float
    final: float
    epochs: int
    steps_per_epoch: int
    options: Mapping[str, Any]
    base: Any = None
    base_epochs: int = 0

    def training(self) -> tuple[Any, int]:
        """The rate of training and its number of steps.

        Raises:
            ValueError: this is the phase `train` itself.
        """
        if self.base is None:
            raise ValueError(
                "learning_rate.schedule: expected a rate of its own in the phase train, received "
                "one that is made of the rate of training"
            )
        return self.base, self.base_epochs * self.steps_per_epoch

    def extremes(self) -> tuple[float, float]:
        """The lowest and the highest of the rates; without rates, those of training.

        Training is looked at where each of its epochs begins and in its last step.
        """
        rates = list(self.values)
        if not rates:
            base, steps = self.training()
            looked_at = [*range(0, steps, self.steps_per_epoch), steps - 1]
            rates = [float(to_numpy(base(step))) for step in looked_at]
        return min(rates), max(rates)


_WITHOUT_RATES: set[str] = set()
LEARNING_RATES: Registry[Callable[[RateSettings], Any]] = Registry("learning rate")


def register(name: str, *, needs_rates: bool = True) -> Callable[[Any], Any]:
    """A decorator that adds a learning rate under a name: a function from `RateSettings` to a
    Keras `LearningRateSchedule`.

    A recipe names it in `config.train.learning_rate.schedule`; warm-up is put around it by the
    recipe. A file in `tfshed/learning_rates/` needs no other change anywhere; code outside of the
    package has to be imported before the name is used, which a recipe does that defines its rate
    itself.

    Args:
        name: of the learning rate.
        needs_rates: whether a recipe has to give `rates`. False for those that can be made of the
            rate of training. Default True.

    Raises:
        ValueError: the name is taken, or empty.

    >>> import keras
    >>> from tfshed import learning_rates
    >>> @learning_rates.register("inverse_time")
    ... def inverse_time(given):
    ...     return keras.optimizers.schedules.InverseTimeDecay(
    ...         given.values[0], given.steps_per_epoch, **given.options
    ...     )
    >>> "inverse_time" in learning_rates.LEARNING_RATES
    True
    """
    if not needs_rates:
        _WITHOUT_RATES.add(name)
    return LEARNING_RATES.register(name)


def needs_rates(name: str) -> bool:
    """Whether a recipe that names this learning rate has to give `rates`."""
    return name not in _WITHOUT_RATES


def find(name: Any, path: str | None = None) -> Callable[[RateSettings], Any]:
    """The function registered under a name.

    Args:
        name: of the learning rate.
        path: what an error calls the name; default "learning rate".

    Raises:
        ValueError: there is no such name; lists those there are, and the nearest one.
    """
    import_folder("tfshed.learning_rates")
    return LEARNING_RATES.get(name, path)
