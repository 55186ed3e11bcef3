"""`retrain`: prunes a trained model and retrains it by a named strategy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras.optimizers.schedules import LearningRateSchedule

from tfshed import learning_rates
from tfshed.attach.keras3.declarations import check_stripped
from tfshed.attach.keras3.keep_zeros import KeepZeros
from tfshed.attach.keras3.optimizer import pruning_optimizer
from tfshed.attach.keras3.sparsify import sparsify as sparsify_model
from tfshed.attach.types import Array
from tfshed.core.arguments import check_int
from tfshed.experiments.retraining.fresh_weights import (
    OTHER_SEED,
    fresh_weights,
    sparse_fresh_weights,
)
from tfshed.experiments.retraining.masks import Masks, masked, masks_of
from tfshed.experiments.retraining.rounds import sparsity_of_round
from tfshed.experiments.retraining.strategies import STRATEGIES, Strategy, retraining_epochs
from tfshed.export.report.flops import flops

Weights = Sequence[np.ndarray]


def retrain(
    model: keras.Model,
    strategy: str,
    x: Array = None,
    y: Array = None,
    *,
    training_rate: float | LearningRateSchedule,
    training_epochs: int,
    steps_per_epoch: int,
    epochs: int | None = None,
    sparsity: float | None = None,
    rounds: int = 1,
    prune: Callable[[Any, float], Any] | None = None,
    weights: Weights | None = None,
    seed: int = 0,
    budget_most: float | None = None,
    callbacks: Sequence[Any] = (),
    **fit_options: Any,
) -> list[Any]:
    """Prunes a trained model and retrains it with fixed masks, by a strategy of the literature.

    Masks come from the trained weights. The weights that they keep, the learning rate and the
    number of epochs depend on the strategy:

    | strategy | weights | rate | epochs |
    |---|---|---|---|
    | "fine_tune" | trained | the last one of training | `epochs` |
    | "rewind_rate" | trained | the last `epochs` epochs of training | `epochs` |
    | "rewind_weights" | `weights`, of that epoch | the same | `epochs` |
    | "rewind_weights_only" | `weights`, of that epoch | the last one of training | `epochs` |
    | "reinitialize" | drawn anew | as "rewind_rate" | `epochs` |
    | "scaled_restart", "one_cycle" | trained | see `learning_rates` | `epochs` |
    | "scratch_e", "scratch_b" | drawn anew to fit the masks | that of training, stretched | those
      of training, or as many as cost as much as dense training |
    | "lottery_ticket" | `weights`, before training | that of training | those of training |
    | "random_ticket" | drawn anew | that of training | those of training |

    Args:
        model: A trained and compiled model without pruning wrappers. It is changed in place; its
            optimizer is replaced by a fresh one of the same settings with the strategy's rate.
        strategy: One of the names above.
        x, y: What `fit` is given to train on.
        training_rate: The learning rate of training, a `LearningRateSchedule` or a number.
        training_epochs: The epochs of training.
        steps_per_epoch: Optimizer updates in an epoch.
        epochs: The epochs of retraining, for strategies that do not bring their own. Default None.
        sparsity: The fraction of weights that is pruned before. Default None: the model is pruned
            already, and its zeros are the masks.
        rounds: Prunes and retrains so many times, each time the same fraction of what is left.
        prune: How: a function of the model and a sparsity, which prunes in place. Default
            `tfshed.sparsify`.
        weights: Weights of an earlier epoch, as from `KeepEpochs`, for the strategies that go back
            to them. Default None.
        seed: Of weights that are drawn anew. Default 0.
        budget_most: "scratch_b" has at most so many times the epochs of training. Default None.
        callbacks: Of every `fit`. `tfshed.KeepZeros` is added.
        **fit_options: Passed on to `fit`, such as `batch_size` and `validation_data`.

    Returns:
        Keras' History of each round.

    Raises:
        ValueError: An unknown strategy (the nearest is named), weights that are missing or of
            another net, a model with pruning wrappers or without masks; the model is as it was.

    >>> import keras, numpy as np, tfshed
    >>> x, y = np.random.rand(64, 8), np.random.rand(64, 4)
    >>> net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> net.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    >>> _ = net.fit(x, y, epochs=4, verbose=0)
    >>> (history,) = tfshed.retrain(
    ...     net,
    ...     "rewind_rate",
    ...     x,
    ...     y,
    ...     training_rate=0.1,
    ...     training_epochs=4,
    ...     steps_per_epoch=2,
    ...     epochs=2,
    ...     sparsity=0.75,
    ...     verbose=0,
    ... )
    >>> len(history.epoch), int(np.count_nonzero(net.get_weights()[0]))
    (2, 8)

    Source: Renda, Frankle & Carbin 2020 (arXiv 2003.02389); Le & Hua 2021, "Network Pruning That
    Matters"; Liu et al. 2019 (arXiv 1810.05270); Frankle & Carbin 2019 (arXiv 1803.03635).
    """
    how = STRATEGIES.get(strategy, "strategy")
    _check(model, how, strategy, epochs, sparsity, rounds, weights)
    if not isinstance(training_rate, keras.optimizers.schedules.LearningRateSchedule):
        training_rate = learning_rates.MultiStep((float(training_rate),), (), steps_per_epoch)
    prune = sparsify_model if prune is None else prune
    histories = []
    for number in range(1, rounds + 1):
        if sparsity is not None:
            prune(model, sparsity_of_round(sparsity, number, rounds))
        masks = masks_of(model)
        # A strategy that takes `epochs` has been given them: see `_check`.
        count = retraining_epochs(
            how, epochs or 0, training_epochs, budget_most, lambda: _multiply_adds(model)
        )
        start = masked(_weights(how, model, masks, weights, seed + OTHER_SEED), masks)
        rate = learning_rates.find(how.rate)(
            learning_rates.RateSettings(
                values=(),
                milestones=(),
                cycle=1.0,
                final=0.0,
                epochs=count,
                steps_per_epoch=steps_per_epoch,
                options={},
                base=training_rate,
                base_epochs=training_epochs,
            )
        )
        _compile_again(model, rate)
        model.set_weights(start)
        holding = [KeepZeros()] if any(m is not None for m in masks) else []
        history = model.fit(x, y, epochs=count, callbacks=[*holding, *callbacks], **fit_options)
        histories.append(history)
    return histories


def _check(
    model: Any,
    how: Strategy,
    strategy: str,
    epochs: int | None,
    sparsity: float | None,
    rounds: int,
    weights: Weights | None,
) -> None:
    if getattr(model, "optimizer", None) is None:
        raise ValueError(f"model: expected a compiled model, received {model.name}: compile it")
    check_stripped(model, "retrain")
    if pruning_optimizer(model.optimizer) is not None:
        raise ValueError(
            f"model: expected a plain model, received {model.name}, which is being pruned. Call "
            "tfshed.strip_pruning(model) and compile the result."
        )
    check_int("rounds", rounds, 1)
    if how.epochs == "given":
        if epochs is None:
            raise ValueError(f"epochs: expected a number for the strategy {strategy!r}, got None")
        check_int("epochs", epochs, 1)
    if sparsity is None and (rounds > 1 or all(m is None for m in masks_of(model))):
        raise ValueError(
            f"sparsity: expected a number in [0, 1), since {model.name} has no zeros in its kernels"
            " or is to be pruned in several rounds; received None"
        )
    if how.weights in ("rewound", "initial"):
        when = "before training" if how.weights == "initial" else "so many epochs before its end"
        if weights is None:
            raise ValueError(
                f"weights: the strategy {strategy!r} expected weights of {when}, received None. "
                "Keep them with the callback tfshed.KeepEpochs while training."
            )
        # Raises if they are of another net, before anything is changed.
        masked(weights, [np.ones(tuple(v.shape), bool) for v in model.weights])


def _multiply_adds(model: Any) -> tuple[int, int]:
    found = flops(model)
    return found.macs, found.macs_left


def _weights(
    how: Strategy, model: Any, masks: Masks, weights: Weights | None, seed: int
) -> Weights:
    if how.weights == "trained":
        return [np.array(w) for w in model.get_weights()]
    if how.weights in ("rewound", "initial"):
        assert weights is not None
        return weights
    fresh = fresh_weights(model, seed)
    return fresh if how.weights == "fresh" else sparse_fresh_weights(model, fresh, masks, seed)


def _compile_again(model: Any, rate: Any) -> None:
    """Gives the model a fresh optimizer of the same settings with another rate."""
    kind = type(model.optimizer)
    config = model.optimizer.get_config()
    config["learning_rate"] = keras.saving.serialize_keras_object(rate)
    compiled = dict(model.get_compile_config())
    compiled["optimizer"] = keras.saving.serialize_keras_object(kind.from_config(config))
    model.compile_from_config(compiled)
