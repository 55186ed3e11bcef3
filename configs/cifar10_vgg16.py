"""VGG-16 with BatchNorm on CIFAR-10 in Renda et al.'s protocol, pruned in one of several ways.

Arms of the phase `prune`, after a colon: `lrw90` (default; one-shot global magnitude pruning to
keep-ratio 0.2097, then 90 epochs with the learning rate rewound), `ft90` (the same, fine-tuned at
the last rate), both with any other number of epochs; `gradual` and `gradual_momentum0` (exponential
schedule over 35 epochs at rate 1e-2, shedding counted). Up to 46 epochs, the length of the last
stage of training, `ft` and `lrw` are the same run: that is the control.

    python scripts/train.py --config=configs/cifar10_vgg16.py --workdir=runs/base --data_dir=DATA
    python scripts/prune.py --config=configs/cifar10_vgg16.py:ft90 --workdir=runs/ft90 \\
        --data_dir=DATA --config.initial_weights=runs/base

Without tensorflow-datasets: --config.data.name=npz:cifar10.npz, a file of x_train, y_train,
x_test, y_test.

Time: not run here.
Expected: no number in this protocol is at hand.
Source: Renda, Frankle & Carbin 2020 (arXiv 2003.02389) and the runs published with it; the gradual
arms: Azarian & Porikli 2021 (arXiv 2103.10629), section 3.
"""

from tfshed.experiments.published_settings import CIFAR10_ARMS as ARMS
from tfshed.experiments.published_settings import cifar10

__all__ = ["ARMS", "get_config"]


def get_config(arm: str = "lrw90"):
    return cifar10("vgg16_bn", arm)
