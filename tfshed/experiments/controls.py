"""Controls: runs that differ from a recipe in one thing, by names that a recipe can hold.

What a run with pruning shows is due to pruning only if a run without it does not show it as well.
`config.prune.control` names what such a run changes; "" is the run itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tfshed.core.registry import Registry

if TYPE_CHECKING:
    from ml_collections import ConfigDict

# Each function changes a phase `prune` of a recipe in place.
CONTROLS: Registry[Callable[[ConfigDict], None]] = Registry("control")
# The control that a grid of pruning runs has by default.
DEFAULT = "shadow"


@CONTROLS.register("none")
def none(phase: ConfigDict) -> None:
    """No pruning at all: all weights are trained, and there is no gap."""
    phase.schedule, phase.sparsity, phase.initial_sparsity = "one_shot", 0.0, 0.0
    phase.begin, phase.threshold, phase.sparsity_by_layer = 0.0, 0.0, ()
    phase.selective_decay = 0.0
    phase.grow_threshold = None


@CONTROLS.register("shadow")
def shadow(phase: ConfigDict) -> None:
    """No pruning, and the whole rule is counted on shadow masks: a gap without any pruning."""
    phase.observe, phase.selective_decay = True, 0.0


@CONTROLS.register("fixed_threshold")
def fixed_threshold(phase: ConfigDict) -> None:
    """Pruning with a threshold that stays at its first value."""
    phase.grow_threshold = False


@CONTROLS.register("momentum_0")
def momentum_0(phase: ConfigDict) -> None:
    """Momentum 0 at the same learning rate, so at a lower effective one."""
    phase.momentum, phase.nesterov, phase.low_momentum = 0.0, False, None


@CONTROLS.register("matched_rate")
def matched_rate(phase: ConfigDict) -> None:
    """Momentum 0 at the same effective learning rate, learning rate / (1 - momentum)."""
    rate = phase.learning_rate
    if not rate.rates:
        raise ValueError(
            'config.prune.control: expected a phase with learning rates for "matched_rate", which '
            f"multiplies them, received {rate.schedule!r} without any"
        )
    factor = 1.0 / (1.0 - phase.momentum)
    rate.rates = tuple(factor * value for value in rate.rates)
    rate.final = factor * rate.final
    momentum_0(phase)


@CONTROLS.register("matched_scale")
def matched_scale(phase: ConfigDict) -> None:
    """Kernels before batch normalisation begin with one root mean square (`match_scale`)."""
    phase.match_scale = True


def controlled(config: ConfigDict) -> ConfigDict:
    """The recipe with its control applied, and the field `control` empty again.

    Args:
        config: a recipe.

    Raises:
        ValueError: there is no such control, or it does not go with the recipe.

    >>> from tfshed.experiments import recipe
    >>> config = recipe()
    >>> config.prune.control, config.prune.momentum = "matched_rate", 0.8
    >>> prune = controlled(config).prune
    >>> prune.momentum, [round(rate, 4) for rate in prune.learning_rate.rates]
    (0.0, [0.05, 0.005, 0.0005])
    """
    result = config.copy_and_resolve_references()
    if config.prune.control:
        CONTROLS.get(config.prune.control, "config.prune.control")(result.prune)
        result.prune.control = ""
    return result


def with_controls(
    arms: Mapping[str, Mapping[str, Any]], names: Iterable[str] = (DEFAULT,)
) -> dict[str, dict[str, Any]]:
    """Rows or columns of a grid, each followed by its controls.

    Args:
        arms: the fields that each row or column changes, by its name.
        names: of the controls.

    Raises:
        ValueError: there is no control of such a name.

    >>> list(with_controls({"momentum 0.9": {"prune.momentum": 0.9}}))
    ['momentum 0.9', 'momentum 0.9, shadow']
    """
    names = list(names)
    for control in names:
        CONTROLS.get(control)
    found: dict[str, dict[str, Any]] = {}
    for name, changes in arms.items():
        found[name] = dict(changes)
        for control in names:
            found[f"{name}, {control}"] = {**changes, "prune.control": control}
    return found
