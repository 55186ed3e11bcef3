"""4x1 block pruning of ResNet50 on ImageNet, with and without selective weight decay.

Arms, after a colon: `plain` (default), `selective_decay` (1e-4 times 0, 4, 2, 1, 0 for blocks of
which 0 to 4 weights would survive on their own). Momentum 0: --config.prune.momentum=0.

    python scripts/prune.py --config=configs/imagenet_resnet50_block4x1.py --workdir=runs/block \\
        --data_dir=~/tensorflow_datasets --strategy=mirrored

Time: not run here; 35 epochs of 10,009 steps.
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
