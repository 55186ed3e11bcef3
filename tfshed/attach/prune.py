"""`prune_low_magnitude`: declares what of a model is pruned."""

from __future__ import annotations

import inspect
from typing import Any

from tfshed.attach.keras3.declare import declare
from tfshed.attach.policies import PruningPolicy
from tfshed.attach.rules import Selection
from tfshed.attach.tfmot_arguments import granularity_of
from tfshed.attach.types import CriterionChoice, Prunable, ScheduleChoice, Select
from tfshed.attach.which_keras import is_tf_keras
from tfshed.core import criteria, schedules
from tfshed.core.config import PruningConfig
from tfshed.core.granularity import Granularity
from tfshed.core.near_miss import near_miss
from tfshed.core.schedules import ConstantSparsity
from tfshed.core.schedules.check import check_schedule
from tfshed.core.selective_decay import SelectiveWeightDecay


def prune_low_magnitude(
    to_prune: Prunable,
    pruning_schedule: ScheduleChoice | None = None,
    block_size: tuple[int, int] = (1, 1),
    block_pooling_type: str = "AVG",
    pruning_policy: PruningPolicy | None = None,
    sparsity_m_by_n: tuple[int, int] | None = None,
    *,
    scope: str | None = None,
    criterion: CriterionChoice = "magnitude",
    granularity: Granularity | str | None = None,
    threshold: float | None = None,
    grow_threshold: bool | None = None,
    shed_every: int = 1,
    monotone: bool = True,
    select: Select = None,
    seed: int = 0,
    weight_decay: SelectiveWeightDecay | None = None,
    collapse_guard: float = 0.1,
    hold_zeros: bool = False,
    observe: bool = False,
    **kwargs: Any,
) -> Prunable:
    """Declares that a model, a layer or a list of layers is to be pruned while it is trained.

    No weight is changed here. Train the result with `tfshed.UpdatePruningStep()` among the
    callbacks of `fit`, or step it with a `tfshed.PruningOptimizer`. At each update of the schedule
    the weights with the lowest scores are set to zero, so many that the sparsity is

        s(step) = zero weights / all weights of the scope.

    The first six arguments are tfmot's, in tfmot's order and with tfmot's meaning.

    Args:
        to_prune: A Sequential or functional model gives a new model of the same layers, in which
            each layer with something to prune is inside a `PruneLowMagnitude`. A subclassed model
            comes back itself and remembers its declaration. A layer, or each layer of a list,
            comes back wrapped. All of it belongs to Keras 3, or all of it to tf_keras, whose layers
            get the wrappers of `tfshed.tfmot`.
        pruning_schedule: When to prune, and to which sparsity: a `tfshed.PruningSchedule` or one of
            tfmot's, or a dict of a registered name and arguments such as {"name": "one_shot",
            "final_sparsity": 0.8}. None (default) means `ConstantSparsity(0.5, begin_step=0)`,
            which prunes half of the weights in the first step and has an update every 100 steps.
        block_size: The number of input and of output channels that form one block, which is kept
            or pruned as a whole. The default (1, 1) prunes single weights.
        block_pooling_type: The score of such a block: "AVG" (default), the mean magnitude of its
            weights, or "MAX", the largest one.
        pruning_policy: A `tfshed.PruningPolicy`, which is asked about each layer. None (default)
            allows every layer.
        sparsity_m_by_n: (m, n): m zeros in every n adjacent input channels, such as (2, 4). None
            (default) sets no such pattern.
        scope: Which kernels compete: "global" ranks the weights of all kernels together, "layer"
            prunes each kernel to the same sparsity. None (default) leaves it to the schedule:
            "layer" for the schedules that tfmot has too (`PolynomialDecay`, `ConstantSparsity`),
            "global" for tfshed's own. The schedules' `default_scope` says it.
        criterion: What ranks the weights: a registered name, "magnitude" (default), "random",
            "taylor" or "movement"; a dict of a name and arguments such as {"name": "taylor",
            "steps": 50}; or a `tfshed.criteria.Criterion`.
        granularity: What is kept or pruned as a whole: "4x1" (a block of 4 input channels and 1
            output channel), "2:4" (2 kept weights of every 4), "filter", "balanced16", or a
            `tfshed.granularity.Granularity`. None (default) means single weights, or what
            `block_size` or `sparsity_m_by_n` say; only one of the three can be given.
        threshold: The magnitude, at least 0, below which a weight (or the norm of a block) is shed
            between two updates: it becomes zero and stays so. 0 turns shedding off. None
            (default) means 0.0001 if the scope is global and `monotone` is True, and 0 otherwise.
        grow_threshold: Whether the threshold follows the largest magnitude that an update has
            pruned. None (default) means True if the threshold is above 0, the criterion ranks by
            magnitude and the granularity ranks the scope as a whole; otherwise False.
        shed_every: Steps from one look for weights to shed to the next, at least 1 (default).
        monotone: True (default): a pruned weight stays pruned. False: each update chooses the mask
            anew, so that pruned weights may come back, as in tfmot; nothing is shed then.
        select: Which kernels are pruned: a regex that is searched in their paths, a function
            (layer, variable) -> True, False or None, or a list of rules; see `tfshed.Selection`.
            None (default) means the kernels of all layers but depthwise ones and embeddings.
        seed: A whole number, default 0, for a criterion that draws numbers, as "random" does.
        weight_decay: A `tfshed.SelectiveWeightDecay` for the weights of blocks. None (default)
            adds no decay to that of the optimizer.
        collapse_guard: A fraction of the final keep-ratio, at least 0 and below 1, default 0.1. A
            step whose shedding would leave less than this fraction of a scope sheds nothing there.
            0 turns the guard off.
        hold_zeros: Whether weights that are zero when pruning begins are held at zero. False
            (default) trains them as all others.
        observe: Whether the whole rule is only applied to masks, which are then called shadow
            masks: threshold, masks and counts become what the rule makes of the weights, and no
            weight, gradient or slot of the optimizer is changed. Such a model is trained as if it
            were not pruned, and `tfshed.KeepRatio` shows how much would be shed. False (default)
            prunes. True goes with neither `hold_zeros` nor `weight_decay`.
        **kwargs: With a single layer, arguments of its wrapper, such as `name`.

    Returns:
        What is to be trained. `tfshed.summary(model)` lists what is pruned and what is not.

    Raises:
        TypeError: `to_prune` is nothing of Keras, or an argument is unknown.
        ValueError: an argument is not what was expected. As with TypeError, nothing has been
            changed then.

    The threshold and what is shed below it are from section 3.2 of Azarian & Porikli 2021, "Cascade
    Weight Shedding in Deep Neural Networks" (arXiv 2103.10629).

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
        observe=observe,
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
