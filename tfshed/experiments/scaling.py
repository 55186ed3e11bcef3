"""Scales a recipe down to a smaller run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfshed.experiments.recipe import PHASES

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def scaled(config: ConfigDict) -> ConfigDict:
    """Returns the recipe with `scale` applied, which is a smaller run of the same shape.

    Let s = scale and E the number of epochs. The new number of epochs is
    E' = max(1, round(s E)). All other times in epochs are multiplied by E' / E, so milestones and
    cycles have the same place in the run. The fraction of the data, and with it the steps of an
    epoch, is multiplied by s. The pruning frequency in steps is multiplied by s and rounded, so the
    number of updates in an epoch does not change (a frequency in epochs is not changed). The
    returned recipe has `scale` 1. A scaled run has fewer training examples, so it shows how a run
    works, but not its result.

    Example:
        >>> from tfshed.experiments import recipe
        >>> config = recipe()
        >>> config.scale = 0.2
        >>> small = scaled(config)
        >>> small.prune.epochs, small.prune.time_constant, small.prune.frequency
        (7, 0.6..., 20)
        >>> [round(m, 3) for m in small.prune.learning_rate.milestones], small.data.fraction
        ([2.2, 4.6], 0.2)
    """
    small = config.copy_and_resolve_references()
    if config.scale == 1:
        return small
    small.data.fraction = config.data.fraction * config.scale
    for name in PHASES:
        phase = small[name]
        epochs = max(1, round(phase.epochs * config.scale))
        ratio, phase.epochs = epochs / phase.epochs, epochs
        rate = phase.learning_rate
        rate.milestones = tuple(m * ratio for m in rate.milestones)
        rate.cycle, rate.warmup_epochs = rate.cycle * ratio, rate.warmup_epochs * ratio
        if name == "prune":
            for field in ("time_constant", "cycle", "gate", "begin", "end", "round_epochs"):
                if phase[field] is not None:
                    phase[field] *= ratio
            phase.frequency = max(1, round(phase.frequency * config.scale))
    training = small.train.epochs / config.train.epochs
    small.checkpoint.keep_epochs = tuple(
        round(epoch * training) for epoch in config.checkpoint.keep_epochs
    )
    small.scale = 1.0
    return small
