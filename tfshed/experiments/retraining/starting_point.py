"""With which weights, masks and for how long a run of the phase `retrain` begins."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tfshed
from tfshed.attach.keras3.keep_zeros import hold_zeros
from tfshed.attach.keras3.optimizer import pruning_optimizer
from tfshed.core import granularity
from tfshed.experiments.retraining.fresh_weights import (
    OTHER_SEED,
    fresh_weights,
    sparse_fresh_weights,
)
from tfshed.experiments.retraining.masks import (
    Masks,
    keep_ratio,
    kernels_by_place,
    masked,
    masks_of,
)
from tfshed.experiments.retraining.smaller_net import removed_filters, smaller
from tfshed.experiments.retraining.sources import read_weights
from tfshed.experiments.retraining.strategies import STRATEGIES, Strategy, retraining_epochs
from tfshed.observe.run_directory import SETTINGS

Build = Callable[[int], Any]


@dataclasses.dataclass(frozen=True)
class StartingPoint:
    """What retraining begins with.

    Attributes:
        weights: arrays in the order of the model's weights, zero where the masks do not keep them.
        masks: as from `masks_of`.
        epochs: of retraining.
        keep: the fraction of all kernel weights that the masks keep.
        smaller: the net that is retrained, where filters were taken out of that of the recipe;
            `weights` and `masks` are then those of this net.
    """

    weights: list[np.ndarray]
    masks: Masks
    epochs: int
    keep: float
    smaller: Any = None


def starting_point(config: Any, build: Build, seed: int) -> StartingPoint:
    """Weights, masks and epochs of a recipe's phase `retrain`.

    Args:
        config: a recipe, scaled.
        build: makes the net with fresh weights of a seed.
        seed: of the run.

    Raises:
        ValueError, FileNotFoundError: a source that is not there, or does not fit; says what to do.
    """
    phase, start = config.retrain, config.start
    strategy = STRATEGIES.get(phase.strategy, "config.retrain.strategy")
    model = build(seed + OTHER_SEED)
    fresh = [np.array(w) for w in model.get_weights()]
    trained = fresh
    if config.initial_weights != "fresh":
        trained = read_weights(config.initial_weights, model, "config.initial_weights")
    if phase.filters and phase.sparsity:
        return _without_filters(config, strategy, model, trained, fresh, seed)
    masks = _masks(model, phase, start, trained, seed)
    model.set_weights(masked(trained, masks))
    found = tfshed.flops(model)
    epochs = _epochs(config, strategy, found.macs, found.macs_left)
    model.set_weights(trained)
    weights = _weights(config, strategy, model, masks, trained, fresh, epochs, seed)
    sizes = [0] * len(trained)
    for i in kernels_by_place(model):
        sizes[i] = trained[i].size
    return StartingPoint(masked(weights, masks), masks, epochs, keep_ratio(masks, sizes))


def _without_filters(
    config: Any,
    strategy: Strategy,
    model: Any,
    trained: list[np.ndarray],
    fresh: list[np.ndarray],
    seed: int,
) -> StartingPoint:
    """The start of retraining a net from which filters were taken out."""
    model.set_weights(trained)
    dense = tfshed.flops(model).macs
    gone = removed_filters(model, config.retrain, seed)
    small = smaller(model, gone)
    size = sum(weight.size for weight in trained)
    left = small.count_params()
    epochs = _epochs(config, strategy, dense, tfshed.flops(small).macs)
    none: Masks = [None] * len(trained)
    weights = _weights(config, strategy, model, none, trained, fresh, epochs, seed)
    if strategy.weights in ("fresh", "sparse_fresh") and config.start.weights in ("", "fresh"):
        small.set_weights(fresh_weights(small, seed + OTHER_SEED))
    else:
        model.set_weights(weights)
        small = smaller(model, gone)
    # Channels that a residual connection needs stay in the net with filters of zeros.
    return StartingPoint(small.get_weights(), masks_of(small), epochs, left / size, small)


def _masks(model: Any, phase: Any, start: Any, trained: list[np.ndarray], seed: int) -> Masks:
    if start.masks:
        model.set_weights(read_weights(start.masks, model, "config.start.masks"))
        found = masks_of(model)
        if all(mask is None for mask in found):
            raise ValueError(
                f"config.start.masks: expected a pruned net, received {start.masks} without zeros "
                "in its kernels"
            )
        return found
    model.set_weights(trained)
    if phase.sparsity:
        tfshed.sparsify(
            model,
            phase.sparsity,
            scope=phase.scope,
            criterion=phase.criterion,
            granularity=granularity.get(phase.granularity, "config.retrain.granularity"),
            select=phase.select,
            seed=seed,
        )
    return masks_of(model)


def _epochs(config: Any, strategy: Strategy, dense: int, left: int) -> int:
    """How many epochs to retrain a net with `left` of the `dense` multiply-adds."""
    given, training = int(config.retrain.epochs), int(config.train.epochs)
    most = config.retrain.budget_most
    return retraining_epochs(strategy, given, training, most, lambda: (dense, left))


def _weights(
    config: Any,
    strategy: Strategy,
    model: Any,
    masks: Masks,
    trained: list[np.ndarray],
    fresh: list[np.ndarray],
    epochs: int,
    seed: int,
) -> list[np.ndarray]:
    given = config.start.weights
    if given == "fresh" or (not given and strategy.weights == "fresh"):
        return fresh
    if given:
        return read_weights(given, model, "config.start.weights")
    if strategy.weights == "trained":
        return trained
    if strategy.weights == "sparse_fresh":
        return sparse_fresh_weights(model, fresh, masks, seed + OTHER_SEED)
    run = config.start.run or config.initial_weights
    epoch = 0 if strategy.weights == "initial" else int(config.train.epochs) - epochs
    if epoch < 0:
        raise ValueError(
            f"config.retrain.epochs: expected at most {config.train.epochs}, those of training, to "
            f"which the weights go back; received {epochs}"
        )
    return read_weights(f"{run}@{epoch}", model, f"the strategy {config.retrain.strategy}")


def check_training(settings: Any) -> None:
    """Raises unless the run that is retrained was trained as the recipe's phase `train` says.

    Rates and epochs of retraining are made of it. Files say nothing about how they were trained.

    Raises:
        ValueError: naming the fields that differ.
    """
    config = settings.config
    recorded = Path(config.start.run or config.initial_weights).expanduser() / SETTINGS
    if not recorded.is_file():
        return
    before = json.loads(recorded.read_text(encoding="utf-8"))["settings"]["config"]
    wanted = json.loads(json.dumps(config.to_dict()))
    for field in ("epochs", "learning_rate"):
        was, now = before["train"][field], wanted["train"][field]
        if was != now or before["scale"] != wanted["scale"]:
            raise ValueError(
                f"config.train.{field}: expected {was} (scale {before['scale']}), with which "
                f"{recorded.parent} was trained, received {now} (scale {wanted['scale']}). The "
                "rate of retraining is made of that of training: give the same values."
            )


def put_start(model: Any, start: StartingPoint) -> None:
    """Gives a compiled model its first weights, and holds what its masks have pruned."""
    model.set_weights(start.weights)
    kernels = kernels_by_place(model)
    masks = {i: mask for i, mask in enumerate(start.masks) if mask is not None}
    if not masks:
        return
    hold_zeros(model, [kernels[i].kernel for i in masks])
    # Nothing is pruned any more, so that the target is what the masks keep of these kernels.
    kept = sum(int(mask.sum()) for mask in masks.values())
    size = sum(mask.size for mask in masks.values())
    for group in getattr(pruning_optimizer(model.optimizer), "groups", ()):
        group.target.assign(np.float32(kept / size))
