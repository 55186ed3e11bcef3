"""Prunes a trained network while training goes on.

    tfshed prune --config=cifar10_resnet20 --workdir=runs/pruned \\
        --config.initial_weights=runs/base

`initial_weights` is a run directory of `tfshed train`, a weights file, or `imagenet`. WORKDIR gets
the same files as with `tfshed train`; model.keras holds plain layers with exact zeros. If the run
is stopped or killed, the same command resumes from the last checkpoint. --dry_run prints the plan.
"""

from __future__ import annotations

from tfshed.commands.run_phase import phase_command

COMMAND = phase_command("prune", __doc__)
