"""Filters of lowest L1 norm are taken out of VGG-16 and ResNets on CIFAR, which are retrained.

An arm is a preset, such as `resnet56_b` (default), with "_cifar100" behind it for CIFAR-100: see
`tfshed.experiments.structured.preset`. Train the net, then retrain what is left of it:

    tfshed train --config=cifar_l1_filters:resnet56_b --workdir=runs/r56 \
        --data_dir=DATA
    tfshed retrain --config=cifar_l1_filters:resnet56_b --workdir=runs/r56b \
        --data_dir=DATA --config.initial_weights=runs/r56

The last command fine-tunes. Others: --config.retrain.strategy=scratch_e, or scratch_b, whose epochs
are 243 for vgg16_a, 178 and 220 for resnet56_a and _b, 190 and 260 for resnet110_a and _b;
--config.retrain.filters=random takes out as many filters of each layer by chance, and =l2 those of
lowest L2 norm.

Time: not known, since we have not run this.
Expected (Liu et al. 2019, table 1; accuracy in % on CIFAR-10): ResNet-56-A Scratch-E
92.96, Scratch-B 93.09; ResNet-56-B 92.54, 93.05; ResNet-110-B 92.89, 93.60.
Source: Li et al. 2017 (arXiv 1608.08710); the settings: Liu et al. 2019 (arXiv 1810.05270) and
their code; presets that end with _c, _d and _i, and vgg16_b: the code of Le & Hua 2021.
"""

from tfshed.experiments import published_settings, recipe
from tfshed.experiments.structured import PRESETS, preset

ARMS = (*PRESETS, "vgg16_a_cifar100", "resnet56_b_cifar100")


def get_config(arm: str = "resnet56_b"):
    name, data = arm.removesuffix("_cifar100"), "cifar10"
    if name != arm:
        data = "cifar100"
    found = preset(name)
    config = recipe()
    config.model.name = found.network
    if found.network.startswith("resnet"):
        config.model.options = {"shortcut": "A"}
    published_settings.cifar_filters(config, data)
    config.retrain.filters, config.retrain.preset = "l1", name
    return config
