"""`prune_low_magnitude`: declares what of a model is pruned."""

from __future__ import annotations

import inspect
from typing import Any

from tfshed.attach.keras3.declare import declare
from tfshed.attach.policies import PruningPolicy
from tfshed.attach.rules import Selection
from tfshed.attach.tfmot_arguments import granularity_of
from tfshed.attach.which_keras import is_tf_keras
from tfshed.core import criteria, schedules
from tfshed.core.config import PruningConfig
from tfshed.core.granularity import Granularity
from tfshed.core.near_miss import near_miss
from tfshed.core.schedules import ConstantSparsity
from tfshed.core.schedules.check import check_schedule
from tfshed.core.selective_decay import SelectiveWeightDecay


def prune_low_magnitude(
    to_prune: Any,
    pruning_schedule: Any = None,
    block_size: tuple[int, int] = (1, 1),
    block_pooling_type: str = "AVG",
    pruning_policy: PruningPolicy | None = None,
    sparsity_m_by_n: tuple[int, int] | None = None,
    *,
    scope: str | None = None,
    criterion: Any = "magnitude",
    granularity: Granularity | str | None = None,
    threshold: float | None = None,
    grow_threshold: bool | None = None,
    shed_every: int = 1,
    monotone: bool = True,
    select: Any = None,
    seed: int = 0,
    weight_decay: SelectiveWeightDecay | None = None,
    collapse_guard: float = 0.1,
    hold_zeros: bool = False,
    **kwargs: Any,
) -> Any:
    """Declares that a model (layer, list of layers) is to be pruned while it is trained.

    The first six arguments are tfmot's, in tfmot's order and with tfmot's meaning. Train the result
    with `tfshed.UpdatePruningStep()` among the callbacks, or with a `tfshed.PruningOptimizer`.

    Args:
        to_prune: a Sequential or functional model: a new model comes back, of the same layers, with
            those that have something to prune inside a `PruneLowMagnitude`. A subclassed model: the
            same model comes back, marked. A layer, or a list of layers: wrapped. All of Keras 3, or
            all of tf_keras: these get the wrappers of `tfshed.tfmot`.
        pruning_schedule: a `tfshed.PruningSchedule` or one of tfmot's; or a dict of a registered
            name and arguments, {"name": "one_shot", "final_sparsity": 0.8}. Default
            ConstantSparsity(0.5, 0).
        block_size: (input channels, output channels) of a block; default (1, 1).
        block_pooling_type: "AVG" (default) or "MAX", the score of such a block.
        pruning_policy: a `PruningPolicy`.
        sparsity_m_by_n: (m, n): m zeros in every n adjacent input channels.
        scope: "global" or "layer"; None: "layer" with the schedules that tfmot has, "global" with
            tfshed's own (their `default_scope`).
        criterion: a registered name: "magnitude" (default), "random", "taylor", "movement"; a dict
            of a name and arguments, {"name": "taylor", "steps": 50}; or a
            `tfshed.criteria.Criterion`.
        granularity: a text such as "4x1" (input x output channels of a block), "2:4" (kept of
            every), "filter" or "balanced16", or a `tfshed.granularity.Granularity`; instead of
            block_size and sparsity_m_by_n.
        threshold, grow_threshold, shed_every, monotone, weight_decay, collapse_guard, hold_zeros:
            see `tfshed.PruningConfig`.
        select: which kernels; a regex, a callable or a list of rules, see
            `tfshed.Selection`.
        seed: int, for a criterion that takes a seed.
        **kwargs: with a single layer: arguments of the wrapper, such as `name`.

    Returns:
        What is to be trained. `tfshed.summary(model)` lists what is pruned and what is not.

    Raises:
        TypeError, ValueError: naming the argument, what was expected and what came; nothing has
            been changed then.

    >>> import keras, tfshed
    >>> layers = [
    ...     keras.Input((8,)),
    ...     keras.layers.Dense(4, name="hidden"),
    ...     keras.layers.ReLU(name="relu"),
    ... ]
    >>> net = keras.Sequential(layers)
    >>> schedule = tfshed.ExponentialDecay(0.85, time_constant=300, end_step=3500)
    >>> [layer.name for layer in tfshed.prune_low_magnitude(net, schedule).layers]
    ['prune_low_magnitude_hidden', 'relu']
    """
    _check_names(kwargs)
    if pruning_schedule is None:
        pruning_schedule = ConstantSparsity(0.5, 0)
    pruning_schedule = schedules.get(pruning_schedule)
    config = PruningConfig(
        schedule=pruning_schedule,
        scope=scope,
        criterion=criteria.get(criterion, seed),
        granularity=granularity_of(granularity, block_size, block_pooling_type, sparsity_m_by_n),
        threshold=threshold,
        grow_threshold=grow_threshold,
        shed_every=shed_every,
        monotone=monotone,
        weight_decay=weight_decay,
        collapse_guard=collapse_guard,
        hold_zeros=hold_zeros,
    )
    check_schedule(pruning_schedule)
    selection = Selection(select, pruning_policy)
    if is_tf_keras(to_prune):
        from tfshed.attach.tf_keras import prune

        return prune.prune(to_prune, config, selection, **kwargs)
    return declare(to_prune, config, selection, **kwargs)


# What a wrapper takes, as any Keras layer.
_OF_A_LAYER = (
    *("name", "trainable", "dtype", "autocast", "activity_regularizer", "dynamic"),
    *("input_shape", "input_dim", "batch_input_shape", "batch_size"),
)


def _check_names(given: dict[str, Any]) -> None:
    """Raises TypeError for arguments that nothing takes, naming what may have been meant."""
    known = [*inspect.signature(prune_low_magnitude).parameters][:-1]
    for name in given:
        if name not in _OF_A_LAYER:
            raise TypeError(
                f"prune_low_magnitude got an unknown argument {name!r}."
                + near_miss(name, [*known, *_OF_A_LAYER])
            )
