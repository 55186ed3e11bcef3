"""Trains the network of a recipe: its phase `train`.

    python scripts/train.py --config=configs/cifar10_resnet20.py --workdir=runs/base

Everything is written to WORKDIR: checkpoints, keep_ratio.csv, TensorBoard's files, plots,
model.keras, results.txt and results.json. Stopped or killed, the same command goes on from the
last checkpoint.
--dry_run builds all, runs two steps and prints the plan. docs/training.md says more.
"""

import _cli
from absl import flags

if __name__ == "__main__":
    _cli.define_run_flags()
    flags.adopt_module_key_flags(_cli)
    _cli.main(lambda: _cli.make_run("train"))
