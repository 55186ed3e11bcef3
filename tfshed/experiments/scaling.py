"""A recipe made smaller."""

from __future__ import annotations

from ml_collections import ConfigDict

from tfshed.experiments.recipe import PHASES


def scaled(config: ConfigDict) -> ConfigDict:
    """The recipe with `scale` applied, and `scale` 1: a smaller run of the same shape.

    With s = scale: the number of epochs is rounded to E' = max(1, round(s E)) and all other times
    in epochs are multiplied by E' / E, so milestones and cycles stay where they were in the run;
    the fraction of the data is multiplied by s, and with it the steps of an epoch; the pruning
    frequency in steps is multiplied by s and rounded, so an epoch keeps its number of updates (one
    in epochs is left alone: an epoch has its number of updates already). The
    training examples are fewer: what comes out is a look at the run, not a small copy of its
    result.

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
    small.scale = 1.0
    return small
