"""`bind`: makes an optimizer prune a tf_keras model."""

from __future__ import annotations

from typing import Any

from tfshed.attach.starting import check_start
from tfshed.attach.tf_keras.hook import Hook, hook_of, parts
from tfshed.attach.tf_keras.private import optimizers_in
from tfshed.attach.tf_keras.real import tf_keras
from tfshed.attach.tf_keras.wrapped import wrappers_of
from tfshed.attach.tf_keras.wrapper import PruneLowMagnitude
from tfshed.attach.types import Keras2Layer, Keras2Optimizer


def bind(
    model: Keras2Layer, optimizer: Keras2Optimizer | None = None, start: str | None = None
) -> Hook:
    """Lets an optimizer prune a tf_keras model in each of its steps.

    If the optimizer does so already, nothing happens. `UpdatePruningStep` calls this function. Call
    it yourself where only tfmot's callbacks are used with a model that was loaded from a file, or
    where a `train_step` or a custom loop steps with an optimizer that the model was not compiled
    with.

    Args:
        model: A tf_keras model with wrappers, or the part of one that the optimizer trains.
        optimizer: The tf_keras optimizer whose steps prune. None (default) means all optimizers
            that the model holds: `model.optimizer`, and those in other attributes, for a
            `train_step` of the model's own. An optimizer that was named for a layer goes on pruning
            it when the model is bound again without one.
        start: How masks begin if the kernels were pruned before: "auto", "continue" or "again", as
            in `UpdatePruningStep`. None (default) means "auto" for kernels that no optimizer prunes
            yet, and leaves the others as they are.

    Returns:
        The hook in the optimizer; its `groups` have masks, thresholds and counts.

    Raises:
        TypeError: `model` is no tf_keras model, or `optimizer` no optimizer.
        ValueError: the model has no optimizer, nothing is wrapped in it, or no kernel fits the
            granularity.

    >>> from tfshed import tfmot
    >>> import tf_keras, tfshed
    >>> net = tf_keras.Sequential([tf_keras.layers.Dense(4, input_shape=(8,), name="head")])
    >>> model = tfmot.prune_low_magnitude(net, tfshed.ConstantSparsity(0.5, 0))
    >>> hook = tfmot.bind(model, tf_keras.optimizers.Adam(0.01))
    >>> [kernel.path for kernel in hook.groups[0].kernels]
    ['head/kernel']
    """
    if not isinstance(model, tf_keras.Model):
        raise TypeError(
            f"model: expected a tf_keras model, received {type(model).__module__}."
            f"{type(model).__name__}. Models of Keras 3 take tfshed.UpdatePruningStep()."
        )
    wrappers = wrappers_of(model)
    if not wrappers:
        raise ValueError(
            f"model: expected one from tfshed.prune_low_magnitude(...), received {model.name}, in "
            "which nothing is wrapped"
        )
    chosen, optimizers = optimizer is not None, [optimizer]
    if chosen and not callable(getattr(optimizer, "apply_gradients", None)):
        raise TypeError(
            "optimizer: expected a tf_keras optimizer or None, received "
            f"{type(optimizer).__module__}.{type(optimizer).__name__}"
        )
    if not chosen:
        named = [w for w in wrappers if w.hook is not None and w.hook.chosen]
        wrappers = [w for w in wrappers if w not in named]
        if not wrappers:
            for hook in {id(w.hook): w.hook for w in named}.values():
                _begin(hook, start)
            return named[0].hook
        optimizers = optimizers_in(model)
    if not optimizers:
        raise ValueError(
            f"model: expected a compiled model, received {model.name} without an optimizer: call "
            "model.compile(...), set model.optimizer in a custom training loop, or name the "
            "optimizer: tfshed.tfmot.bind(model, optimizer)"
        )
    hook = _hook_for(optimizers, model, wrappers, chosen)
    _begin(hook, start)
    return hook


def _begin(hook: Hook, start: str | None) -> None:
    if start is not None:
        hook.ask_again(check_start(start))
    hook.begin()


def _hook_for(
    optimizers: list[Any], model: Any, wrappers: list[PruneLowMagnitude], chosen: bool
) -> Hook:
    there = [hook for hook in map(hook_of, optimizers) if hook is not None]
    for hook in there:
        if hook.chosen:
            # The optimizer was named for another part of a model, too.
            wrappers, chosen = [*(w for w in hook.wrappers if w not in wrappers), *wrappers], True
    one_for_all = len(there) == len(optimizers) and len({*map(id, there)}) == 1
    if one_for_all and (there[0].made_for, there[0].chosen) == (
        parts(optimizers, wrappers),
        chosen,
    ):
        return there[0]
    for hook in [*there, *(w.hook for w in wrappers)]:
        if hook is not None:
            hook.release()
    # Traced before, they have the optimizers as they were.
    model.train_function = model.train_tf_function = None
    return Hook(optimizers, model, wrappers, chosen)
