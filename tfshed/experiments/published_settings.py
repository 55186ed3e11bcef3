"""The settings that recipes of one paper share, as functions that set fields of a recipe."""

from __future__ import annotations

import re
from typing import Any

from tfshed.core.near_miss import near_miss
from tfshed.experiments.recipe import recipe

# The arms with published results. "ft" and "lrw" can be followed by any number of epochs.
CIFAR10_ARMS = ("lrw90", "ft90", "lrw50", "ft50", "lrw30", "ft30", "gradual", "gradual_momentum0")


def imagenet_pruning(config: Any, momentum: float = 0.9) -> None:
    """Sets pruning on ImageNet as in Azarian & Porikli 2021 (sections 3.1 and 3.2).

    35 epochs in cycles of 7, batches of 128, an update every 100 steps, a final keep-ratio of 0.15,
    the 3-step learning rate (eq. 1), no weight decay, and a threshold that starts at 1e-4. The
    paper does not mention the following, for which we chose: random-resized crop and flip, no label
    smoothing, SGD without Nesterov momentum, and a keep-ratio over the kernels of all convolutional
    and dense layers, including depthwise ones (1.7 % of the weights of MobileNetV3, 3.5 % of those
    of EfficientNet-B0).

    Args:
        config: The recipe, which is changed.
        momentum: The momentum of SGD. Default 0.9.
    """
    config.initial_weights = "imagenet"
    config.data.name, config.data.image_size = "imagenet2012", 224
    config.data.augmentation = "crop_flip"
    config.checkpoint.every_steps = 1000
    # Depthwise kernels are not pruned by default, but the paper's ratios count all convolutions.
    config.prune.select = "kernel"
    prune = config.prune
    prune.epochs, prune.batch_size, prune.momentum = 35, 128, momentum
    prune.schedule, prune.sparsity, prune.time_constant = "exponential", 0.85, 3.0
    prune.frequency, prune.threshold = 100, 1e-4
    rate = prune.learning_rate
    rate.schedule, rate.rates, rate.milestones = "multistep", (1e-2, 1e-3, 1e-4), (11.0, 23.0)


def cyclic_rate(config: Any) -> None:
    """Sets the cyclic learning rate (eq. 2) and the gated exponential schedule (section 3.1)."""
    config.prune.schedule, config.prune.cycle, config.prune.gate = "cyclic", 7.0, 2.0
    rate = config.prune.learning_rate
    rate.schedule, rate.cycle = "cyclic", 7.0
    rate.rates, rate.milestones = (1e-2, 1e-3, 1e-4), (3.0, 5.0)


def cifar10_renda(config: Any) -> None:
    """Sets training on CIFAR-10 as in Renda et al. 2020 (arXiv 2003.02389, table 1).

    182 epochs of SGD with momentum 0.9, without Nesterov momentum, batches of 128, a weight decay
    of 2e-4 on all trainable variables, including normalisation and biases (the last two as in their
    published code), a learning rate of 0.1 that falls to a tenth at epochs 91 and 136, padding by
    4, crop and flip, and images that are standardised separately.
    """
    config.data.name, config.data.augmentation = "cifar10", "pad_crop_flip"
    config.data.eval_batch_size = 500
    config.model.preprocessing = "standardize"
    for phase in (config.train, config.prune, config.retrain):
        phase.batch_size, phase.momentum, phase.nesterov = 128, 0.9, False
        phase.weight_decay, phase.decay_on = 2e-4, "all"
    train, rate = config.train, config.train.learning_rate
    train.epochs = 182
    rate.schedule, rate.rates, rate.milestones = "multistep", (0.1, 0.01, 0.001), (91.0, 136.0)


def cifar_filters(config: Any, data: str = "cifar10") -> None:
    """Sets training and fine-tuning on CIFAR as in the code of Liu et al. 2019 (arXiv 1810.05270).

    160 epochs of SGD with momentum 0.9, batches of 64, a weight decay of 1e-4 on all trainable
    variables, a learning rate of 0.1 that falls to a tenth at epochs 80 and 120, padding by 4, crop
    and flip, and images of mean 0 and deviation 1 for each channel. Fine-tuning has 40 epochs at
    the learning rate 1e-3.

    Args:
        config: The recipe, which is changed.
        data: "cifar10" or "cifar100".
    """
    config.data.name, config.data.augmentation = data, "pad_crop_flip"
    config.data.eval_batch_size = 500
    config.model.preprocessing = "cifar"
    for phase in (config.train, config.prune, config.retrain):
        phase.batch_size, phase.momentum, phase.nesterov = 64, 0.9, False
        phase.weight_decay, phase.decay_on = 1e-4, "all"
    train, rate = config.train, config.train.learning_rate
    train.epochs = 160
    rate.schedule, rate.rates, rate.milestones = "multistep", (0.1, 0.01, 0.001), (80.0, 120.0)
    config.retrain.epochs, config.retrain.strategy = 40, "fine_tune"


def one_shot_retraining(config: Any, way: str, epochs: int, keep: float) -> None:
    """Sets one-shot global magnitude pruning and E epochs of retraining as in Renda et al.

    Nothing is shed, so the masks do not change after the first step. If the learning rate does not
    change in the last E epochs of training, the two ways are the same; of 182 epochs, this holds up
    to E = 46.

    Args:
        config: The recipe, which is changed. Its phase `train` is the base schedule.
        way: "ft" is fine-tuning at the last learning rate of training. "lrw" is learning rate
            rewinding: the last E epochs of the base schedule.
        epochs: The number E of epochs, from 1 to those of the base schedule.
        keep: The keep-ratio, in (0, 1].

    Raises:
        ValueError: `way` is unknown, or the base schedule has fewer epochs.
    """
    if not 1 <= epochs <= config.train.epochs:
        raise ValueError(
            f"epochs: expected 1 to {config.train.epochs}, those of training, received {epochs}"
        )
    prune, base = config.prune, config.train
    prune.epochs, prune.schedule, prune.sparsity = epochs, "one_shot", 1.0 - keep
    prune.scope, prune.threshold = "global", 0.0
    rate, last = prune.learning_rate, base.learning_rate
    rate.schedule = "multistep"
    if way == "ft":
        rate.rates, rate.milestones = last.rates[-1:], ()
    elif way == "lrw":
        begun = base.epochs - epochs
        left = tuple(m - begun for m in last.milestones if m > begun)
        rate.rates, rate.milestones = last.rates[len(last.milestones) - len(left) :], left
    else:
        raise ValueError(f'way: expected "ft" or "lrw", received {way!r}')


def cifar10(model: str, arm: str) -> Any:
    """Returns the recipe of a network on CIFAR-10, which is trained as in Renda et al. and pruned.

    Args:
        model: The name of the network.
        arm: "lrwE" or "ftE" with a number E, such as "lrw90": one-shot pruning to the keep-ratio
            0.2097 and E epochs of retraining. "gradual" or "gradual_momentum0": an exponential
            schedule over 35 epochs with the learning rate 1e-2, with shedding.

    Raises:
        ValueError: The arm is unknown.
    """
    retraining = re.fullmatch(r"(ft|lrw)([1-9]\d*)", arm)
    if not retraining and arm not in CIFAR10_ARMS:
        raise ValueError(
            f"arm: expected one of {', '.join(CIFAR10_ARMS)}, with any number of epochs, received "
            f"{arm!r}.{near_miss(arm, CIFAR10_ARMS)}"
        )
    config = recipe()
    config.model.name = model
    cifar10_renda(config)
    if retraining:
        one_shot_retraining(config, retraining[1], epochs=int(retraining[2]), keep=0.2097)
        return config
    prune = config.prune
    prune.epochs, prune.schedule, prune.sparsity, prune.time_constant = 35, "exponential", 0.85, 3.0
    # An epoch has 391 steps, and 10,009 on ImageNet. This gives about as many updates in an epoch.
    prune.frequency = 4
    prune.momentum, prune.nesterov = (0.9 if arm == "gradual" else 0.0), False
    return config
