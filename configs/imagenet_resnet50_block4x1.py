"""4x1 block pruning of ResNet50 on ImageNet, with and without selective weight decay.

There are two arms, which are chosen after a colon: `plain` (default) and `selective_decay` (1e-4
times 0, 4, 2, 1 or 0, if unstructured pruning would keep 0, 1, 2, 3 or 4 weights of a block). For
momentum 0, add --config.prune.momentum=0.

    tfshed prune --config=imagenet_resnet50_block4x1 --workdir=runs/block \\
        --data_dir=~/tensorflow_datasets --strategy=mirrored

Time: 35 epochs of 10,009 steps; we have not run this.
Expected (paper, section 4.6 and figure 6): momentum 0.9 beats momentum 0 by 1.5 points of top-1,
selective decay costs 0.9; 25 % of the weights in kept blocks are degenerate with the cascade, 60 %
without. Source: Azarian & Porikli 2021 (arXiv 2103.10629), sections 3.3 and 4.6.
"""

from tfshed.experiments import published_settings, recipe

ARMS = {"plain": 0.0, "selective_decay": 1e-4}


def get_config(arm: str = "plain"):
    if arm not in ARMS:
        raise ValueError(f"arm: expected one of {', '.join(ARMS)}, received {arm!r}")
    config = recipe()
    config.model.name = "resnet50"
    published_settings.imagenet_pruning(config)
    config.prune.granularity, config.prune.selective_decay = "4x1", ARMS[arm]
    return config
