"""Runs a phase of a recipe: what `tfshed train`, `prune` and `retrain` do."""

from __future__ import annotations

import functools

from absl import flags

from tfshed.commands.command import Command
from tfshed.commands.failures import NOT_FINITE, tell
from tfshed.commands.run_flags import define_run_flags
from tfshed.distribution import WorkerLostError, setup
from tfshed.experiments import Run, Settings
from tfshed.experiments.dry_run import plan
from tfshed.experiments.interruption import InterruptedRunError
from tfshed.experiments.non_finite import NonFiniteError
from tfshed.experiments.retraining.rounds import rounds_of


def phase_command(phase: str, help: str | None) -> Command:
    """The command that runs a phase of a recipe.

    Args:
        phase: "train", "prune" or "retrain".
        help: The docstring of the command's module.
    """
    return Command(
        help or "", define_run_flags, functools.partial(run_phase, phase), takes_recipe=True
    )


def run_phase(phase: str, given: flags.FlagValues) -> int:
    """Runs a phase with the parsed flags and returns the exit code."""
    chosen = Settings(
        phase,
        given.config,
        workdir=given.workdir,
        seed=given.seed,
        precision=given.precision,
        data_dir=given.data_dir,
        deterministic=given.deterministic,
        resume=given.resume,
        accept_missing_rows=given.accept_missing_rows,
    )
    distribution = setup(
        given.strategy, devices=given.devices, virtual_devices=given.virtual_devices
    )
    rounds = rounds_of(chosen)
    if given.dry_run:
        print(plan(Run(rounds[0], distribution)))
        return 0
    try:
        for each in rounds:
            run = Run(each, distribution)
            run.run(print_fn=print if distribution.is_chief else lambda text: None)
    except WorkerLostError as error:
        return tell(phase, error)
    except NonFiniteError as error:
        tell(phase, error)
        return NOT_FINITE
    except InterruptedRunError as error:
        print(f"\n{error}", flush=True)
        return 128 + error.signal
    return 0
