"""VGG-16 with BatchNorm on CIFAR-10, pruned at initialisation, before it is trained.

Shows: how far training from a pruned net comes. The phase `prune` has these arms, which are chosen
after a colon: `magnitude` (default) removes 90 % of the fresh weights by global magnitude, `random`
by chance; then 160 epochs train what is left. `dense` prunes nothing, the control.

    tfshed prune --config=cifar10_vgg16_at_init --workdir=runs/magnitude \
        --data_dir=DATA
    tfshed prune --config=cifar10_vgg16_at_init:random --workdir=runs/random \
        --data_dir=DATA

DATA has cifar10.npz (x_train, y_train, x_test, y_test), or the data of tensorflow-datasets. There
is no net to train first: the weights are fresh.

Time: not run here; 160 epochs of 390 steps, which need a GPU. It resumes after each checkpoint.
Expected: test accuracy 93.12 (magnitude) and 91.15 (random) at sparsity 0.9, as published; which
table they are from could not be traced here, so compare with care. Two differences are known: here
images are standardised one by one, and the update is done in the first step.
Source: the protocol (160 epochs, Nesterov momentum 0.9, rate 0.1 divided by 10 at epochs 60 and
120, batches of 128, weight decay 1e-4) is that of work on pruning at initialisation such as Tanaka
et al. 2020 (arXiv 2006.05467).
"""

from tfshed.experiments import recipe

ARMS = ("magnitude", "random", "dense")


def get_config(arm: str = "magnitude"):
    if arm not in ARMS:
        raise ValueError(f"arm: expected one of {', '.join(ARMS)}, received {arm!r}")
    config = recipe()
    config.initial_weights = "fresh"
    config.data.name, config.data.augmentation = "cifar10", "pad_crop_flip"
    config.data.eval_batch_size = 500
    config.model.name, config.model.preprocessing = "vgg16_bn", "standardize"
    prune = config.prune
    prune.epochs, prune.batch_size = 160, 128
    prune.momentum, prune.nesterov, prune.weight_decay = 0.9, True, 1e-4
    rate = prune.learning_rate
    rate.schedule, rate.rates, rate.milestones = "multistep", (0.1, 0.01, 0.001), (60.0, 120.0)
    prune.schedule, prune.scope = "one_shot", "global"
    prune.sparsity = 0.0 if arm == "dense" else 0.9
    prune.criterion = "random" if arm == "random" else "magnitude"
    # What is pruned at initialisation stays the same: nothing is shed.
    prune.threshold = 0.0
    return config
