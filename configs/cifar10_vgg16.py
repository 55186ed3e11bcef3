"""VGG-16 with BatchNorm on CIFAR-10 in Renda et al.'s protocol, pruned in one of several ways.

The phase `prune` has these arms, which are chosen after a colon: `lrw90` (default): one-shot global
magnitude pruning to the keep-ratio 0.2097, then 90 epochs with a rewound learning rate. `ft90`: the
same, fine-tuned at the last learning rate. Both can have any other number of epochs. `gradual` and
`gradual_momentum0`: an exponential schedule over 35 epochs with the learning rate 1e-2, with
shedding. Up to 46 epochs, the length of the last stage of training, `ft` and `lrw` are the same
run, which serves as a control.

    tfshed train --config=cifar10_vgg16 --workdir=runs/base --data_dir=DATA
    tfshed prune --config=cifar10_vgg16:ft90 --workdir=runs/ft90 \\
        --data_dir=DATA --config.initial_weights=runs/base

Without tensorflow-datasets, use --config.data.name=npz:cifar10.npz, a file with the arrays x_train,
y_train, x_test and y_test.

Time: not known, since we have not run this.
Expected: not known, since we found no published result for this protocol.
Source: Renda, Frankle & Carbin 2020 (arXiv 2003.02389) and the runs published with it; the gradual
arms: Azarian & Porikli 2021 (arXiv 2103.10629), section 3.
"""

from tfshed.experiments.published_settings import CIFAR10_ARMS as ARMS
from tfshed.experiments.published_settings import cifar10

__all__ = ["ARMS", "get_config"]


def get_config(arm: str = "lrw90"):
    return cifar10("vgg16_bn", arm)
