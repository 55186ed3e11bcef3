"""The named ways to retrain a pruned net: which weights it starts from, at which rate, how long."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

from tfshed.core.registry import Registry

Weights = Literal["trained", "rewound", "initial", "fresh", "sparse_fresh"]
Epochs = Literal["given", "training", "budget"]


@dataclasses.dataclass(frozen=True)
class Strategy:
    """A way to retrain. Masks come from the pruned net in each of them.

    Attributes:
        paper_name: what papers call it.
        weights: where the weights come from that are kept: "trained" (those that were pruned),
            "rewound" (E epochs before the end of training), "initial" (before training), "fresh"
            (drawn anew, as before training), "sparse_fresh" (drawn anew, with a deviation that
            fits the weights left).
        rate: the name of the learning rate, made of the rate of training (see
            `tfshed.learning_rates.register`).
        epochs: how long: "given", E epochs; "training", as long as training; "budget", as many
            epochs as cost what training cost the dense net, see `budget_epochs`.
    """

    paper_name: str
    weights: Weights
    rate: str
    epochs: Epochs = "given"


STRATEGIES: Registry[Strategy] = Registry("strategy")

# Renda, Frankle & Carbin 2020 (arXiv 2003.02389), section 2, with its control arms; Le & Hua 2021
# for "scaled_restart" and "one_cycle"; Liu et al. 2019 (arXiv 1810.05270), section 3, for the two
# of "scratch"; Frankle & Carbin 2019 (arXiv 1803.03635) for the lottery ticket and its control.
for _name, _strategy in {
    "fine_tune": Strategy("FT", "trained", "fine_tune"),
    "rewind_rate": Strategy("LRW", "trained", "rewind"),
    "rewind_weights": Strategy("WR", "rewound", "rewind"),
    "rewind_weights_only": Strategy("weights-only", "rewound", "fine_tune"),
    "reinitialize": Strategy("re-init", "fresh", "rewind"),
    "scaled_restart": Strategy("SLR", "trained", "scaled_restart"),
    "one_cycle": Strategy("CLR", "trained", "one_cycle"),
    "scratch_e": Strategy("Scratch-E", "sparse_fresh", "as_training", "training"),
    "scratch_b": Strategy("Scratch-B", "sparse_fresh", "as_training", "budget"),
    "lottery_ticket": Strategy("lottery ticket", "initial", "as_training", "training"),
    "random_ticket": Strategy("random re-init", "fresh", "as_training", "training"),
}.items():
    STRATEGIES.register(_name)(_strategy)


def retraining_epochs(
    strategy: Strategy,
    given: int,
    training_epochs: int,
    most_times: float | None,
    multiply_adds: Callable[[], tuple[int, int]],
) -> int:
    """How many epochs a strategy retrains.

    Args:
        strategy: One of `STRATEGIES`.
        given: The epochs that were asked for, for the strategies that take them.
        training_epochs: The epochs of training.
        most_times: See `budget_epochs`.
        multiply_adds: Gives the multiply-adds of the dense net and of the pruned one, for the
            strategies that need them.
    """
    if strategy.epochs == "given":
        return given
    if strategy.epochs == "training":
        return training_epochs
    return budget_epochs(training_epochs, *multiply_adds(), most_times)


def budget_epochs(
    training_epochs: int, dense: int, left: int, most_times: float | None = None
) -> int:
    """The epochs of Scratch-B: as many as cost what training cost the dense net.

    int(E_training * dense / left), as Liu et al. 2019 count it (section 3, "Training Budget").

    Args:
        training_epochs: of the dense net.
        dense: multiply-adds of the dense net, see `tfshed.flops`.
        left: multiply-adds without zeros.
        most_times: at most so many times the epochs of training; 2 on ImageNet, where a ratio of 2
            or more means 180 epochs for 90. Default None: no limit.

    Raises:
        ValueError: nothing is left.

    >>> budget_epochs(160, 1000, 658), budget_epochs(90, 1000, 300, most_times=2)
    (243, 180)
    """
    if left <= 0:
        raise ValueError(f"left: expected multiply-adds that are left, received {left}")
    ratio = dense / left
    return int(training_epochs * (ratio if most_times is None else min(ratio, most_times)))
