"""Global magnitude pruning of EfficientNet-B0 on ImageNet, which is said to shed hardly anything.

As in the paper, the keep-ratio counts all convolutions, including depthwise ones (3.5 % of the
weights), which tfshed does not prune by default.

    tfshed prune --config=imagenet_efficientnet_b0 --workdir=runs/b0 \\
        --data_dir=~/tensorflow_datasets --strategy=mirrored
    ... --config.prune.momentum=0.99     with which the paper reports a mild cascade

Time: 35 epochs of 10,009 steps; we have not run this.
Expected (paper, section 4.2): the actual keep-ratio follows its target at momentum 0.9.
Source: Azarian & Porikli 2021 (arXiv 2103.10629), section 4.2.
"""

from tfshed.experiments import published_settings, recipe


def get_config():
    config = recipe()
    config.model.name = "efficientnet_b0"
    published_settings.imagenet_pruning(config)
    return config
