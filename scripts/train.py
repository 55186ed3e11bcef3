"""Trains the network of a recipe: the phase `train`.

    python scripts/train.py --config=configs/cifar10_resnet20.py --workdir=runs/base

All files are written to WORKDIR: checkpoints, keep_ratio.csv, TensorBoard files, plots,
model.keras, results.txt and results.json. If the run is stopped or killed, the same command resumes
from the last checkpoint. --dry_run builds everything, runs two steps and prints the plan. See
docs/training.md.
"""

import _cli
from absl import flags

if __name__ == "__main__":
    _cli.define_run_flags()
    flags.adopt_module_key_flags(_cli)
    _cli.main(lambda: _cli.make_run("train"))
