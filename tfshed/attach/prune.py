"""`prune_low_magnitude`: declares what of a model is pruned."""

from __future__ import annotations

import logging
from typing import Any

import keras

from tfshed.attach.keras3.cloning import can_clone, clone
from tfshed.attach.keras3.declarations import check_layer, declaring
from tfshed.attach.keras3.optimizer import pruning_optimizer
from tfshed.attach.keras3.wrapper import PruneLowMagnitude
from tfshed.attach.policies import (
    Candidate,
    PruningPolicy,
    Selection,
    candidates,
    check_finite,
    check_some,
    choose,
)
from tfshed.attach.which_keras import is_tf_keras
from tfshed.core import criteria
from tfshed.core.config import PruningConfig
from tfshed.core.granularity import Block, Granularity, NxM
from tfshed.core.schedules import ConstantSparsity
from tfshed.core.selective_decay import SelectiveWeightDecay

logger = logging.getLogger("tfshed")


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
    granularity: Granularity | None = None,
    threshold: float | None = None,
    grow_threshold: bool | None = None,
    shed_every: int = 1,
    monotone: bool = True,
    select: Any = None,
    seed: int = 0,
    weight_decay: SelectiveWeightDecay | None = None,
    collapse_guard: float = 0.1,
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
        pruning_schedule: a `tfshed.PruningSchedule` or one of tfmot's. Default
            ConstantSparsity(0.5, 0).
        block_size: (input channels, output channels) of a block; default (1, 1).
        block_pooling_type: "AVG" (default) or "MAX", the score of such a block.
        pruning_policy: a `PruningPolicy`.
        sparsity_m_by_n: (m, n): m zeros in every n adjacent input channels.
        scope: "global" or "layer"; None: "layer" with the schedules that tfmot has, "global" with
            tfshed's own (their `default_scope`).
        criterion: "magnitude" (default), "random" or a `tfshed.criteria.Criterion`.
        granularity: `tfshed.Block`, `Filter`, `NxM`, `Balanced`; instead of block_size and
            sparsity_m_by_n.
        threshold, grow_threshold, shed_every, monotone, weight_decay, collapse_guard: see
            `tfshed.PruningConfig`.
        select: which kernels; a regex, a callable or a list of rules, see
            `tfshed.Selection`.
        seed: int, of the random criterion.
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
    if pruning_schedule is None:
        pruning_schedule = ConstantSparsity(0.5, 0)
    config = PruningConfig(
        schedule=pruning_schedule,
        scope=scope,
        criterion=criteria.get(criterion, seed),
        granularity=_granularity(granularity, block_size, block_pooling_type, sparsity_m_by_n),
        threshold=threshold,
        grow_threshold=grow_threshold,
        shed_every=shed_every,
        monotone=monotone,
        weight_decay=weight_decay,
        collapse_guard=collapse_guard,
    )
    _check_schedule(pruning_schedule)
    selection = Selection(select, pruning_policy)
    if is_tf_keras(to_prune):
        from tfshed.attach.tf_keras import prune

        return prune.prune(to_prune, config, selection, **kwargs)
    single = isinstance(to_prune, keras.layers.Layer) and not isinstance(to_prune, keras.Model)
    if kwargs and not single:
        raise TypeError(f"prune_low_magnitude got unknown arguments {sorted(kwargs)}")
    if isinstance(to_prune, (list, tuple)):
        if not to_prune:
            raise ValueError(f"to_prune: expected at least one layer, received {to_prune!r}")
        for layer in to_prune:
            check_layer(layer)
        return _wrap_layers(list(to_prune), config, selection)
    check_layer(to_prune)
    if single:
        return _wrap_layers([to_prune], config, selection, **kwargs)[0]
    return _prune_model(to_prune, config, selection)


def _wrap_layers(
    layers: list[Any], config: PruningConfig, selection: Selection, **kwargs: Any
) -> list[Any]:
    if all(isinstance(layer, PruneLowMagnitude) for layer in layers):
        raise ValueError(
            "to_prune: expected a layer that is not wrapped yet, received "
            f"{[layer.name for layer in layers]}. Wrap its `layer` to prune it in another way."
        )
    seen: list[Candidate] = []
    wanted: set[int] = set()
    for layer in layers:
        if layer.built:
            found, chosen, rows = choose(layer, config, selection, explicit=True)
            check_finite(found, rows)
            seen += found
            wanted |= {id(found[i].kernel.variable) for i in chosen}
        elif selection.rules:
            raise ValueError(
                f"select: expected a built layer, whose kernels have names, received {layer.name}. "
                "Call layer.build(input_shape) before, or leave select out."
            )
    selection.check_used(seen)
    return [
        _wrap(layer, config, wanted, **kwargs)
        if layer.built
        else _wrap_unbuilt(layer, config, selection.policy, **kwargs)
        for layer in layers
    ]


def _check_schedule(schedule: Any) -> None:
    """One look at step 0, so that a schedule that cannot be called fails here and not in fit()."""
    try:
        due, sparsity = schedule(0)
        sparsity = float(sparsity)
    except Exception as error:
        raise ValueError(
            f"pruning_schedule: expected schedule(step) -> (should_prune, sparsity), received "
            f"{schedule!r}, which fails at step 0: {error}"
        ) from error
    if not 0.0 <= sparsity < 1.0:
        raise ValueError(
            f"pruning_schedule: expected a sparsity in [0, 1), received {sparsity} at step 0"
        )


def _granularity(
    granularity: Granularity | None, block_size: Any, pooling: Any, m_by_n: Any
) -> Granularity | None:
    size = tuple(block_size) if isinstance(block_size, (tuple, list)) else ()
    if len(size) != 2:
        raise ValueError(f"block_size: expected (rows, columns), received {block_size!r}")
    if pooling not in ("AVG", "MAX"):
        raise ValueError(f'block_pooling_type: expected "AVG" or "MAX", received {pooling!r}')
    asked = [granularity is not None, size != (1, 1), m_by_n is not None]
    if sum(asked) > 1:
        raise ValueError(
            "expected one of granularity, block_size and sparsity_m_by_n, received "
            f"granularity={granularity!r}, block_size={block_size!r}, sparsity_m_by_n={m_by_n!r}"
        )
    if m_by_n is not None:
        pair = m_by_n if isinstance(m_by_n, (tuple, list)) else ()
        if len(pair) != 2 or not all(isinstance(x, int) for x in pair) or not 0 < pair[0] < pair[1]:
            raise ValueError(
                "sparsity_m_by_n: expected (zeros, out of), two ints with 0 < zeros < out of, "
                f"received {m_by_n!r}"
            )
        return NxM(m_by_n[1] - m_by_n[0], m_by_n[1])
    return Block(*size, pooling=pooling, pad=True) if size != (1, 1) else granularity


def _wrap(layer: Any, config: PruningConfig, wanted: set[int], **kwargs: Any) -> Any:
    """The layer wrapped, or itself where none of the wanted variables, by identity, is in it."""
    if isinstance(layer, PruneLowMagnitude):
        return layer
    numbers = [i for i, c in enumerate(candidates(layer)) if id(c.kernel.variable) in wanted]
    return PruneLowMagnitude(layer, config, numbers, **kwargs) if numbers else layer


def _wrap_unbuilt(
    layer: Any, config: PruningConfig, policy: PruningPolicy | None, **kwargs: Any
) -> Any:
    if isinstance(layer, PruneLowMagnitude) or not _may_have_kernels(layer):
        return layer
    if policy is not None and not policy.allow_pruning(layer):
        return layer
    return PruneLowMagnitude(layer, config, **kwargs)


def _may_have_kernels(layer: Any) -> bool:
    """Whether an unbuilt layer may get kernels; Keras' own without any are known by their class."""
    if hasattr(layer, "get_prunable_weights") or not type(layer).__module__.startswith("keras."):
        return True
    inside = [layer, *layer._flatten_layers(include_self=False)]
    return any(
        hasattr(x, name + "_initializer")
        for x in inside
        for name in ("kernel", "_kernel", "embeddings", "depthwise")
    )


def _prune_model(model: Any, config: PruningConfig, selection: Selection) -> Any:
    subclassed = not can_clone(model)
    declared = list(declaring(model))
    old = {id(c.kernel.variable) for layer in declared for c in candidates(layer)}
    if not subclassed and not model.built:
        raise ValueError(
            f"to_prune: expected a built model, received {model.name} without an input shape. "
            "Begin it with keras.Input(shape), call model.build(input_shape), or wrap its layers."
        )
    if model.built:
        found, chosen, rows = choose(model, config, selection)
        selection.check_used(found)
        check_some(model, rows)
        check_finite(found, rows)
    if model in declared or (
        model.built and all(id(found[i].kernel.variable) in old for i in chosen)
    ):
        raise ValueError(
            f"to_prune: expected a model with kernels that are not declared yet, received "
            f"{model.name}. Call strip_pruning(model) before, to prune them in another way."
        )
    if selection.policy is not None:
        selection.policy.ensure_model_supports_pruning(model)
    if subclassed:
        object.__setattr__(model, "_tfshed_declared", (config, selection))
        _guard(model)
        return model
    wanted = {id(found[i].kernel.variable) for i in chosen}
    pruned = clone(model, lambda layer: _wrap(layer, config, wanted))
    object.__setattr__(pruned, "_tfshed_report", rows)
    _guard(pruned)
    for row in rows:
        if not row.pruned:
            logger.info("left alone: %s (%s): %s", row.path, row.layer, row.reason)
    return pruned


def _guard(model: Any) -> None:
    """Makes `fit` an error while the optimizer does not prune, before it has begun.

    Wrappers see for themselves that they are trained, but in a marked model nothing else would,
    and an error inside the step of JAX's trainer costs the model its weights.
    """
    make = model.make_train_function

    def checked(*args: Any, **kwargs: Any) -> Any:
        if pruning_optimizer(model.optimizer) is None and _has_something_to_prune(model):
            raise RuntimeError(
                f"{model.name} is trained, but no optimizer prunes it. Add "
                "tfshed.UpdatePruningStep() to the callbacks of fit(), or compile it with "
                "tfshed.PruningOptimizer(optimizer, model)."
            )
        return make(*args, **kwargs)

    object.__setattr__(model, "make_train_function", checked)


def _has_something_to_prune(model: Any) -> bool:
    return any(
        not isinstance(layer, PruneLowMagnitude)
        or any(kernel.variable.trainable for kernel in layer.chosen_kernels())
        for layer in declaring(model)
    )
