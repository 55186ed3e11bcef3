"""Random pruning of ResNet50 on ImageNet: does shedding improve even this criterion?

The arms, which are chosen after a colon, are `momentum9` (default), `momentum0` and
`momentum9_decay` (with weight decay 1e-4).

    tfshed prune --config=imagenet_resnet50_random:momentum0 \\
        --workdir=runs/random0 --data_dir=~/tensorflow_datasets --strategy=mirrored

Time: 35 epochs of 10,009 steps; we have not run this.
Expected (paper, section 4.3): top-1 accuracy with momentum 0.9 is better by 11.7 points than with
momentum 0, and by more with weight decay. It is worse than with magnitude pruning by 3.7 points.
Source: Azarian & Porikli 2021 (arXiv 2103.10629), sections 3.2 and 4.3.
"""

from tfshed.experiments import published_settings, recipe

ARMS = {"momentum9": (0.9, 0.0), "momentum0": (0.0, 0.0), "momentum9_decay": (0.9, 1e-4)}


def get_config(arm: str = "momentum9"):
    if arm not in ARMS:
        raise ValueError(f"arm: expected one of {', '.join(ARMS)}, received {arm!r}")
    config = recipe()
    config.model.name = "resnet50"
    published_settings.imagenet_pruning(config, momentum=ARMS[arm][0])
    config.prune.criterion, config.prune.weight_decay = "random", ARMS[arm][1]
    return config
