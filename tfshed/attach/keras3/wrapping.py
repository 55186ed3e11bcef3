"""Puts pruning optimizers into compiled models, and takes them out again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import keras

from tfshed.attach.keras3 import private
from tfshed.attach.keras3.declarations import declaring
from tfshed.attach.keras3.optimizer import PruningOptimizer, pruning_optimizer
from tfshed.attach.ownership import expect, held_optimizers
from tfshed.attach.starting import check_start


def ensure_pruning(model: Any, start: str = "auto") -> PruningOptimizer:
    """Puts a `PruningOptimizer` around every optimizer of a model that has none yet.

    Args:
        model: A model that has an optimizer (by `compile`, by `model.optimizer = ...`, or in
            attributes that its own `train_step` uses) and declares what is to be pruned.
        start: "auto", "continue" or "again", see `tfshed.UpdatePruningStep`.

    Returns:
        The one in `model.optimizer`; in a model without, the first one found.

    Raises:
        ValueError: the model has no optimizer, or declares nothing that can be pruned.
    """
    check_start(start)
    check_optimizer(model)
    found = pruning_optimizers(model)
    for each in found:
        each.put_into(model)
        with strategy_scope(model):
            each.resume(start)
        if not each.built and model.built and len(found) == 1:
            each.build(model.trainable_variables)
    if not found:
        _check_declares(model)
        found = wrap_optimizers(model, lambda: model, start)
    for layer in declaring(model):
        expect(layer, model)
    return found[0]


def make_ready(model: Any) -> list[PruningOptimizer]:
    """Builds pruning optimizers that were compiled in by hand; does nothing where all is ready.

    Returns:
        All `PruningOptimizer`s that the model holds.
    """
    found = pruning_optimizers(model)
    for each in found:
        each.put_into(model)
        if each.built and not each.prunes:
            with strategy_scope(model):
                each.resume()
        elif not each.built and model.built and len(found) == 1:
            with strategy_scope(model):
                each.build(model.trainable_variables)
    return found


def check_optimizer(model: Any) -> None:
    """Raises ValueError if a model holds no optimizer."""
    if not held_optimizers(model):
        raise ValueError(
            f"expected a compiled model, received {model.name} without an optimizer: call "
            "model.compile(...) after prune_low_magnitude(...)"
        )


def _check_declares(model: Any) -> None:
    if not any(True for _ in declaring(model)):
        raise ValueError(
            f"expected a model from tfshed.prune_low_magnitude(...), received {model.name}, "
            "which declares nothing to prune"
        )


def pruning_optimizers(model: Any) -> list[PruningOptimizer]:
    """All `PruningOptimizer`s that a model holds."""
    found = [pruning_optimizer(outer) for _, _, outer in held_optimizers(model)]
    return [each for each in found if each is not None]


def wrap_optimizers(
    model: Any, what: Callable[[], Any], start: str = "auto"
) -> list[PruningOptimizer]:
    """Puts a `PruningOptimizer` around every optimizer of a model, inside any loss scaling.

    Args:
        model: A model that holds at least one optimizer.
        what: Called once for each optimizer; returns what `PruningOptimizer` takes as `prune`.
        start: See `ensure_pruning`.
    """
    held = held_optimizers(model)
    several = len(held) > 1
    made = []
    try:
        # Without the scope the masks of a mirrored variable would be on one device only.
        with strategy_scope(model):
            for holder, name, outer in held:
                inner = outer.inner_optimizer if _scales(outer) else outer
                found = PruningOptimizer(inner, what(), start=start, only_stepped=several)
                made.append((holder, name, outer, inner, found))
                found.put_into(model)
                # The order of saved variables is that of an optimizer that loss scaling builds.
                with private.tracking_attributes(not _scales(outer)):
                    if several and inner.built:
                        found.build(private.built_with(inner))
                    elif not several and model.built:
                        found.build(model.trainable_variables)
    except Exception:
        for *_, found in made:
            found.release()
        raise
    for holder, name, outer, inner, found in made:
        if _scales(outer):
            outer.inner_optimizer = found
        else:
            _put(holder, name, found)
        # Where Keras itself added loss scaling, the arguments of `compile` hold the bare optimizer,
        # which would be saved without its masks.
        private.replace_saved_optimizer(model, inner, found)
    model.train_function = None
    return [found for *_, found in made]


def unwrap_optimizers(model: Any, note: bool = True) -> None:
    """Gives a model its own optimizers back; does nothing if none of them prunes.

    Args:
        model: A model that holds optimizers.
        note: See `PruningOptimizer.release`.
    """
    for holder, name, outer in held_optimizers(model):
        found = pruning_optimizer(outer)
        if found is None:
            continue
        found.release(note)
        if outer is found:
            _put(holder, name, found.inner_optimizer)
        else:
            outer.inner_optimizer = found.inner_optimizer
        private.replace_saved_optimizer(model, found, found.inner_optimizer)
        model.train_function = None


def _scales(optimizer: Any) -> bool:
    return isinstance(optimizer, keras.optimizers.LossScaleOptimizer)


def _put(holder: Any, name: Any, optimizer: Any) -> None:
    if isinstance(holder, (list, dict)):
        holder[name] = optimizer
    else:
        setattr(holder, name, optimizer)


def strategy_scope(model: Any) -> Any:
    """The scope of the tf.distribute strategy that a model was made under, if any."""
    strategy = getattr(model, "distribute_strategy", None)
    return strategy.scope() if strategy is not None else contextlib.nullcontext()
