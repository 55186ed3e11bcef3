"""Prunes a trained network while training goes on: the phase `prune` of a recipe.

    python scripts/prune.py --config=configs/cifar10_resnet20.py --workdir=runs/pruned \\
        --config.initial_weights=runs/base

`initial_weights` is a run directory of train.py, a weights file, or `imagenet`. WORKDIR gets the
same files as with train.py; model.keras holds plain layers with exact zeros. If the run is stopped
or killed, the same command resumes from the last checkpoint. --dry_run prints the plan. See
docs/training.md.
"""

import _cli
from absl import flags

if __name__ == "__main__":
    _cli.define_run_flags()
    flags.adopt_module_key_flags(_cli)
    _cli.main(lambda: _cli.make_run("prune"))
