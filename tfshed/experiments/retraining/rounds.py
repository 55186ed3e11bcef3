"""Iterative pruning: prune and retrain several times, each round a run of its own."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tfshed.experiments.settings import Settings


def sparsity_of_round(sparsity: float, number: int, rounds: int) -> float:
    """The sparsity after a round: every round keeps the same fraction of what is left.

    1 - (1 - sparsity)^(number / rounds).

    >>> [round(sparsity_of_round(0.875, i, 3), 3) for i in (1, 2, 3)]
    [0.5, 0.75, 0.875]
    """
    return sparsity if number == rounds else 1.0 - (1.0 - sparsity) ** (number / rounds)


def rounds_of(settings: Settings) -> list[Settings]:
    """The runs that one of the phase `retrain` comes to, in the order in which they are run.

    Every round prunes what the round before has retrained, and retrains it with the strategy,
    which goes back to the run that was trained first. Round i of n lies in WORKDIR-round<i>, the
    last one in WORKDIR. A run of one round, or of another phase, is itself.
    """
    phase, start = settings.config.retrain, settings.config.start
    rounds = phase.rounds if settings.phase == "retrain" else 1
    if rounds == 1:
        return [settings]
    if start.masks:
        raise ValueError(
            "config.start.masks: expected none with config.retrain.rounds > 1, since every round "
            f"prunes anew; received {start.masks}"
        )
    made: list[Settings] = []
    for number in range(1, rounds + 1):
        config = settings.config.copy_and_resolve_references()
        config.retrain.rounds = 1
        config.retrain.sparsity = sparsity_of_round(phase.sparsity, number, rounds)
        config.start.run = start.run or settings.config.initial_weights
        workdir = Path(settings.workdir)
        if made:
            config.initial_weights = str(made[-1].workdir)
        if number < rounds:
            workdir = workdir.with_name(f"{workdir.name}-round{number}")
        made.append(dataclasses.replace(settings, config=config, workdir=workdir))
    return made
