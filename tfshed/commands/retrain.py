"""Prunes a trained network once and retrains it with fixed masks.

    tfshed train --config=digits_resnet8 --workdir=runs/base \\
        --config.checkpoint.keep_epochs="(0,14)"
    tfshed retrain --config=digits_resnet8 --workdir=runs/rewound \\
        --config.initial_weights=runs/base --config.retrain.strategy=rewind_weights \\
        --config.retrain.epochs=40 --config.retrain.sparsity=0.9

docs/retraining.md lists the strategies. With --config.retrain.rounds=N it prunes and retrains N
times. WORKDIR gets the same files as with `tfshed train`. If the run is stopped or killed, the same
command resumes from the last checkpoint. --dry_run prints the plan.
"""

from __future__ import annotations

from tfshed.commands.run_phase import phase_command

COMMAND = phase_command("retrain", __doc__)
