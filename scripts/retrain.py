"""Prunes a trained network once and retrains it with fixed masks: the phase `retrain` of a recipe.

    python scripts/train.py --config=configs/digits_resnet8.py --workdir=runs/base \\
        --config.checkpoint.keep_epochs="(0,14)"
    python scripts/retrain.py --config=configs/digits_resnet8.py --workdir=runs/rewound \\
        --config.initial_weights=runs/base --config.retrain.strategy=rewind_weights \\
        --config.retrain.epochs=40 --config.retrain.sparsity=0.9

docs/retraining.md says which strategies there are. With --config.retrain.rounds=N it prunes and
retrains N times. Everything is written to WORKDIR as train.py does; stopped or killed, the same
command goes on from the last checkpoint. --dry_run prints the plan.
"""

import _cli
from absl import flags

if __name__ == "__main__":
    _cli.define_run_flags()
    flags.adopt_module_key_flags(_cli)
    _cli.main(lambda: _cli.make_run("retrain"))
