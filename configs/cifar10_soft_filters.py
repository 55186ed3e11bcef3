"""Soft filter pruning of ResNets on CIFAR-10: filters that are zeroed may grow again.

The arms are `resnet56` (default), `resnet20`, `resnet32` and `resnet110`. 30 % of the filters of
every convolution go after each of 200 epochs. The smaller net is trained anew, or fine-tuned, by
the second command:

    tfshed train --config=cifar10_soft_filters:resnet56 --workdir=runs/soft \
        --data_dir=DATA
    tfshed retrain --config=cifar10_soft_filters:resnet56 --data_dir=DATA \
        --workdir=runs/soft_scratch --config.initial_weights=runs/soft

Time: not known, since we have not run this.
Expected: table 1 of the paper. Liu et al. 2019 find training the smaller net anew as good.
Source: He et al. 2018 (arXiv 1808.06866); the settings: Liu et al. 2019 (arXiv 1810.05270) and
their code: a learning rate of 0.01 in the first epoch, then 0.1, a fifth of it from epochs 60, 120
and 160 on; batches of 128, a weight decay of 5e-4.
"""

from tfshed.experiments import published_settings, recipe

ARMS = ("resnet56", "resnet20", "resnet32", "resnet110")


def get_config(arm: str = "resnet56"):
    if arm not in ARMS:
        raise ValueError(f"arm: expected one of {', '.join(ARMS)}, received {arm!r}")
    config = recipe()
    config.model.name, config.model.options = arm, {"shortcut": "A"}
    published_settings.cifar_filters(config)
    for phase in (config.train, config.retrain):
        phase.batch_size, phase.weight_decay = 128, 5e-4
    train, rate = config.train, config.train.learning_rate
    train.epochs, train.soft_filters = 200, 0.3
    rate.rates, rate.milestones = (0.01, 0.1, 0.02, 0.004, 0.0008), (1.0, 60.0, 120.0, 160.0)
    config.retrain.strategy = "scratch_e"
    config.retrain.filters, config.retrain.sparsity = "l2", 0.3
    return config
