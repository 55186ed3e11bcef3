"""Global magnitude pruning of MobileNetV3 (large) on ImageNet, which is said not to shed.

As in the paper, the keep-ratio counts all convolutions, including depthwise ones (1.7 % of the
weights), which tfshed does not prune by default.

    tfshed prune --config=imagenet_mobilenet_v3 --workdir=runs/mobilenet \\
        --data_dir=~/tensorflow_datasets --strategy=mirrored
    ... --config.prune.momentum=0.99

Time: 35 epochs of 10,009 steps; we have not run this.
Expected (paper, section 4.2): no cascade, not even at momentum 0.99.
Source: Azarian & Porikli 2021 (arXiv 2103.10629), section 4.2.
"""

from tfshed.experiments import published_settings, recipe


def get_config():
    config = recipe()
    config.model.name = "mobilenet_v3_large"
    published_settings.imagenet_pruning(config)
    return config
