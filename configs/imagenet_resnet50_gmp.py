"""Global magnitude pruning of ResNet50 on ImageNet to 15 % of its weights.

Shows: whether a little pruning makes the net shed much more by itself (momentum 0.9 compared with
0), and how this depends on the schedule. The arms, which are chosen after a colon, are
`exponential_tau3` (default), `exponential_tau2`, `exponential_tau1`, `linear` and `cyclic`.

    tfshed prune --config=imagenet_resnet50_gmp:linear --workdir=runs/lin \\
        --data_dir=~/tensorflow_datasets --strategy=mirrored
    ... --config.prune.momentum=0     without momentum; its control has ten times the rate:
    ... --config.prune.momentum=0 --config.prune.learning_rate.rates="(0.1,0.01,0.001)"

Time: 35 epochs of 10,009 steps; we have not run this.
Expected (paper, figures 1 to 3; it starts from a net of top-1 79.02 %, Keras' weights have about
75 %): with momentum 0.9 the actual keep-ratio falls up to 0.15 below its target (exponential; 0.40
at epoch 5 with linear), and top-1 accuracy dips at the start and recovers; with momentum 0, neither
happens. Linear and tau 3 are better by about 1 % at epochs 15 to 20 and worse at the end; the
cyclic rate removes the decline in the last third. With `cyclic`, the target reaches 0.15 at epoch
30, when the last gate closes; the paper does not say how its gated schedule reaches it.
Source: Azarian & Porikli 2021 (arXiv 2103.10629), sections 3.1, 3.2, 4.1 and 4.2.
"""

from tfshed.experiments import published_settings, recipe

ARMS = ("exponential_tau3", "exponential_tau2", "exponential_tau1", "linear", "cyclic")


def get_config(arm: str = "exponential_tau3"):
    if arm not in ARMS:
        raise ValueError(f"arm: expected one of {', '.join(ARMS)}, received {arm!r}")
    config = recipe()
    config.model.name = "resnet50"
    published_settings.imagenet_pruning(config)
    if arm == "linear":
        config.prune.schedule = "linear"
    elif arm == "cyclic":
        published_settings.cyclic_rate(config)
    else:
        config.prune.time_constant = float(arm[-1])
    return config
