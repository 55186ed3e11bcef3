"""The arms of the paper's figures and their controls, as changes to one recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Changes = Mapping[str, Any]

# Names that figures and claims use. The first is what the other arms differ from.
MAIN = "GMP exponential 3, momentum 0.9"
ZERO = "GMP exponential 3, momentum 0"
LINEAR = "GMP linear, momentum 0.9"
FASTER = "GMP exponential 2, momentum 0.9"
FASTEST = "GMP exponential 1, momentum 0.9"
CYCLIC = "GMP cyclic, momentum 0.9"
MOMENTUM_6 = "GMP exponential 3, momentum 0.6"
MOMENTUM_3 = "GMP exponential 3, momentum 0.3"
DECAY = "GMP momentum 0.9, decay 1e-4"
STRONG_DECAY = "GMP momentum 0.9, decay 1e-3"
RANDOM_ZERO = "random, momentum 0"
RANDOM = "random, momentum 0.9"
RANDOM_DECAY = "random, momentum 0.9, decay 1e-4"
BLOCK_ZERO = "4x1 GMP, momentum 0"
BLOCK = "4x1 GMP, momentum 0.9"
BLOCK_SELECTIVE = "4x1 GMP, momentum 0.9, selective decay"
MILD = "GMP to 0.6, momentum 0.9"
MILD_ZERO = "GMP to 0.6, momentum 0"
SEED = "seed of 5 % only, momentum 0.9"
# Controls, which the paper does not have.
SHADOW = "shadow, momentum 0.9"
SHADOW_ZERO = "shadow, momentum 0"
SHADOW_LINEAR = "shadow linear, momentum 0.9"
SHADOW_SEED = "shadow of the seed, momentum 0.9"
FIXED = "fixed threshold, momentum 0.9"
MATCHED = "momentum 0, rate x10"
# What section 4.4 supposes and does not test.
FINE_TUNE = "fine-tuning after 20 %, momentum 0.9"
FINE_TUNE_ZERO = "fine-tuning after 20 %, momentum 0"
FINE_TUNE_SLOWLY = "fine-tuning, 20 % within 5 epochs, momentum 0.9"
REWIND = "rate rewound after 20 %, momentum 0.9"
# Of the depthwise net, which has a grid of its own.
DEPTHWISE = "depthwise, momentum 0.9"
DEPTHWISE_99 = "depthwise, momentum 0.99"
SHADOW_DEPTHWISE = "depthwise shadow, momentum 0.9"

SEED_SPARSITY, LATE_SPARSITY = 0.05, 0.2


def dense_arms(rates: tuple[float, ...], decay: float) -> dict[str, dict[str, Any]]:
    """The arms of the net of ordinary convolutions.

    The recipe itself is the arm `MAIN`: exponential with a time constant of 3 epochs of 35, global
    magnitude, keep-ratio 0.15, momentum 0.9, the three-step rate.

    Args:
        rates: The three rates of the phase `prune`.
        decay: What stands for the paper's weight decay of 1e-4 (see `same_decay`).

    >>> arms = dense_arms((0.01, 0.001, 0.0001), decay=1e-4)
    >>> arms[STRONG_DECAY]
    {'prune.weight_decay': 0.001}
    """
    zero = {"prune.momentum": 0.0}
    decayed = {"prune.weight_decay": decay}
    linear = {"prune.schedule": "linear"}
    # The paper's thresholds: the random criterion has one that does not grow (section 3.2).
    random = {"prune.criterion": "random", "prune.threshold": 1e-4}
    block = {"prune.granularity": "4x1"}
    mild = {"prune.sparsity": 0.4}
    seed = {"prune.schedule": "one_shot", "prune.sparsity": SEED_SPARSITY}
    shadow = {"prune.observe": True}
    late = {"prune.schedule": "one_shot", "prune.sparsity": LATE_SPARSITY}
    last = _constant(rates[-1])
    cycles = {
        "prune.schedule": "cyclic",
        "prune.learning_rate.schedule": "cyclic",
        "prune.learning_rate.milestones": (3.0, 5.0),
    }
    slowly = {"prune.schedule": "linear", "prune.sparsity": LATE_SPARSITY, "prune.end": 5.0}
    return {
        MAIN: {},
        ZERO: zero,
        LINEAR: linear,
        SHADOW: shadow,
        FASTER: {"prune.time_constant": 2.0},
        FASTEST: {"prune.time_constant": 1.0},
        CYCLIC: cycles,
        SHADOW_ZERO: {**shadow, **zero},
        SHADOW_LINEAR: {**shadow, **linear},
        FIXED: {"prune.grow_threshold": False},
        MATCHED: {**zero, "prune.learning_rate.rates": tuple(10 * rate for rate in rates)},
        SEED: seed,
        SHADOW_SEED: {**shadow, **seed},
        MOMENTUM_6: {"prune.momentum": 0.6},
        MOMENTUM_3: {"prune.momentum": 0.3},
        MILD: mild,
        MILD_ZERO: {**mild, **zero},
        RANDOM_ZERO: {**random, **zero},
        RANDOM: random,
        RANDOM_DECAY: {**random, **decayed},
        DECAY: decayed,
        STRONG_DECAY: {"prune.weight_decay": 10 * decay},
        BLOCK_ZERO: {**block, **zero},
        BLOCK: block,
        BLOCK_SELECTIVE: {**block, "prune.selective_decay": decay},
        FINE_TUNE: {**late, **last},
        FINE_TUNE_ZERO: {**late, **last, **zero},
        FINE_TUNE_SLOWLY: {**slowly, **last},
        REWIND: late,
    }


def depthwise_arms() -> dict[str, dict[str, Any]]:
    """The arms of a net of depthwise and pointwise convolutions, all of whose kernels are pruned.

    >>> list(depthwise_arms())[0]
    'depthwise, momentum 0.9'
    """
    every = {"prune.select": "kernel"}
    return {
        DEPTHWISE: every,
        DEPTHWISE_99: {**every, "prune.momentum": 0.99},
        SHADOW_DEPTHWISE: {**every, "prune.observe": True},
    }


def same_decay(decay: float, steps_per_epoch: int, first_rate: float) -> float:
    """The weight decay that shrinks a weight over a run as much as the paper's does over its run.

    Without gradients a step shrinks a weight by the factor 1 - rate * decay, and runs of another
    scale have fewer steps at another rate. The paper has 10,009 steps in an epoch and a first
    rate of 0.01; the epochs and the shape of the rate are the same at every scale.

    >>> same_decay(1e-4, 10009, 0.01)
    0.0001
    """
    return decay * (10009 * 0.01) / (steps_per_epoch * first_rate)


def _constant(rate: float) -> dict[str, Any]:
    return {
        "prune.learning_rate.schedule": "constant",
        "prune.learning_rate.rates": (rate,),
        "prune.learning_rate.milestones": (),
    }
