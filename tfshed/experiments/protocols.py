"""The settings that recipes of one paper share, as functions that set fields of a recipe."""

from __future__ import annotations

from typing import Any

from tfshed.experiments.recipe import recipe

CIFAR10_ARMS = ("lrw", "ft", "gradual", "gradual_momentum0")


def imagenet_pruning(config: Any, momentum: float = 0.9) -> None:
    """Pruning on ImageNet as Azarian & Porikli 2021 did it (sections 3.1 and 3.2).

    35 epochs in cycles of 7, batch 128, the target updated every 100 batches, keep-ratio .15 at the
    end, 3-step learning rate (eq. 1), no weight decay, threshold from 1e-4. What the paper does not
    say is read as: random-resized crop and flip, no label smoothing, SGD without Nesterov's step.
    """
    config.initial_weights = "imagenet"
    config.data.name, config.data.image_size = "imagenet2012", 224
    config.data.augmentation = "crop_flip"
    config.checkpoint.every_steps = 1000
    prune = config.prune
    prune.epochs, prune.batch_size, prune.momentum = 35, 128, momentum
    prune.schedule, prune.sparsity, prune.time_constant = "exponential", 0.85, 3.0
    prune.frequency, prune.threshold = 100, 1e-4
    rate = prune.learning_rate
    rate.schedule, rate.rates, rate.milestones = "multistep", (1e-2, 1e-3, 1e-4), (11.0, 23.0)


def cyclic_rate(config: Any) -> None:
    """The cyclic learning rate (eq. 2) and the exponential schedule gated by it (section 3.1)."""
    config.prune.schedule, config.prune.cycle, config.prune.gate = "cyclic", 7.0, 2.0
    rate = config.prune.learning_rate
    rate.schedule, rate.cycle = "cyclic", 7.0
    rate.rates, rate.milestones = (1e-2, 1e-3, 1e-4), (3.0, 5.0)


def cifar10_renda(config: Any) -> None:
    """CIFAR-10 as Renda et al. 2020 (arXiv 2003.02389, table 1) train on it.

    182 epochs of Nesterov SGD with momentum .9, batch 128, weight decay 2e-4, rate .1 that falls to
    a tenth at epochs 91 and 136; pad 4, crop and flip, images standardised one by one.
    """
    config.data.name, config.data.augmentation = "cifar10", "pad_crop_flip"
    config.data.eval_batch_size = 500
    config.model.preprocessing = "standardize"
    for phase in (config.train, config.prune):
        phase.batch_size, phase.momentum, phase.nesterov = 128, 0.9, True
        phase.weight_decay = 2e-4
    train, rate = config.train, config.train.learning_rate
    train.epochs = 182
    rate.schedule, rate.rates, rate.milestones = "multistep", (0.1, 0.01, 0.001), (91.0, 136.0)


def one_shot_retraining(config: Any, way: str, epochs: int, keep: float) -> None:
    """One-shot global magnitude pruning, then E epochs in one of Renda et al.'s ways.

    `way`: "ft", fine-tuning at the last rate of training; "lrw", rewinding the learning rate: the
    last E epochs of the base schedule. Masks are fixed after the first step: nothing is shed.
    """
    prune, base = config.prune, config.train
    prune.epochs, prune.schedule, prune.sparsity = epochs, "one_shot", 1.0 - keep
    prune.scope, prune.threshold = "global", 0.0
    rate, last = prune.learning_rate, base.learning_rate
    rate.schedule = "multistep"
    if way == "ft":
        rate.rates, rate.milestones = last.rates[-1:], ()
    elif way == "lrw":
        begun = base.epochs - epochs
        ahead = tuple(m - begun for m in last.milestones if m > begun)
        rate.rates, rate.milestones = last.rates[len(last.milestones) - len(ahead) :], ahead
    else:
        raise ValueError(f'way: expected "ft" or "lrw", received {way!r}')


def cifar10(model: str, arm: str) -> Any:
    """The recipe of a net on CIFAR-10: training as Renda et al., pruning in one of four ways.

    Args:
        model: its name.
        arm: "lrw" or "ft": one-shot to keep-ratio .2097 and 30 epochs of retraining; "gradual" or
            "gradual_momentum0": exponential schedule over 35 epochs at rate 1e-2, with shedding.

    Raises:
        ValueError: another arm.
    """
    if arm not in CIFAR10_ARMS:
        raise ValueError(f"arm: expected one of {', '.join(CIFAR10_ARMS)}, received {arm!r}")
    config = recipe()
    config.model.name = model
    cifar10_renda(config)
    if arm in ("lrw", "ft"):
        one_shot_retraining(config, arm, epochs=30, keep=0.2097)
        return config
    prune = config.prune
    prune.epochs, prune.schedule, prune.sparsity, prune.time_constant = 35, "exponential", 0.85, 3.0
    # 391 steps an epoch where ImageNet has 10,009: about as many updates an epoch.
    prune.frequency = 4
    prune.momentum, prune.nesterov = (0.9, True) if arm == "gradual" else (0.0, False)
    return config
