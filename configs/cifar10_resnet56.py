"""ResNet-56 on CIFAR-10 in Renda et al.'s protocol: training, then pruning in one of four ways.

Arms of the phase `prune`, after a colon: `lrw` (default; one-shot global magnitude pruning to
keep-ratio .2097, then 30 epochs with the learning rate rewound), `ft` (the same, fine-tuned at the
last rate), `gradual` and `gradual_momentum0` (exponential schedule over 35 epochs at rate 1e-2,
shedding counted).

    python scripts/train.py --config=configs/cifar10_resnet56.py --workdir=runs/base --data_dir=DATA
    python scripts/prune.py --config=configs/cifar10_resnet56.py:ft --workdir=runs/ft \\
        --data_dir=DATA --config.initial_weights=runs/base

Without tensorflow-datasets: --config.data.name=npz:cifar10.npz, a file of x_train, y_train,
x_test, y_test.

Time: not run here in full.
Expected: test accuracy 93.46 % after training (mean of 3 published runs).
Source: Renda, Frankle & Carbin 2020 (arXiv 2003.02389) and the runs published with it; the gradual
arms: Azarian & Porikli 2021 (arXiv 2103.10629), section 3.
"""

from tfshed.experiments.protocols import CIFAR10_ARMS as ARMS
from tfshed.experiments.protocols import cifar10

__all__ = ["ARMS", "get_config"]


def get_config(arm: str = "lrw"):
    return cifar10("resnet56", arm)
