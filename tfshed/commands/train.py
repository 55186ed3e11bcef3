"""Trains the network of a recipe.

    tfshed train --config=cifar10_resnet20 --workdir=runs/base

All files are written to WORKDIR: checkpoints, keep_ratio.csv, TensorBoard files, plots,
model.keras, results.txt and results.json. If the run is stopped or killed, the same command resumes
from the last checkpoint. --dry_run builds everything, runs two steps and prints the plan.
"""

from __future__ import annotations

from tfshed.commands.run_phase import phase_command

COMMAND = phase_command("train", __doc__)
