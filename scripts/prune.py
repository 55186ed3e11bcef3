"""Prunes a trained network and trains on: the phase `prune` of a recipe.

    python scripts/prune.py --config=configs/cifar10_resnet20.py --workdir=runs/pruned \\
        --config.initial_weights=runs/base

`initial_weights` is a run directory of train.py, a weights file, or `imagenet`. Everything is
written to WORKDIR as train.py does; model.keras holds plain layers with exact zeros. Stopped or
killed, the same command goes on from the last checkpoint. --dry_run prints the plan.
docs/training.md says more.
"""

import _cli
from absl import flags

if __name__ == "__main__":
    _cli.define_run_flags()
    flags.adopt_module_key_flags(_cli)
    _cli.main(lambda: _cli.make_run("prune"))
