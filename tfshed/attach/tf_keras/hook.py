"""Where tf_keras models are pruned: around the `apply_gradients` of their optimizer."""

from __future__ import annotations

import warnings
import weakref
from typing import Any

import tensorflow as tf

from tfshed.attach.mixing import mixes_elements
from tfshed.attach.tf_keras.group import Member, WrapperGroup
from tfshed.attach.tf_keras.real import sparsity, tf_keras
from tfshed.attach.tf_keras.wrapper import PruneLowMagnitude
from tfshed.core.backend import to_numpy


def wrappers_of(model: Any) -> list[PruneLowMagnitude]:
    """The wrappers in a tf_keras model, nested ones too, each once."""
    found: dict[int, PruneLowMagnitude] = {}
    for layer in model._flatten_layers(include_self=True, recursive=True):
        if isinstance(layer, PruneLowMagnitude):
            found.setdefault(id(layer), layer)
    return list(found.values())


def groups_of(wrappers: list[PruneLowMagnitude], trainable: list[Any]) -> list[WrapperGroup]:
    """The kernels that train, by configuration."""
    left = {id(v) for v in trainable}
    by_key: dict[str, list[Member]] = {}
    for wrapper in wrappers:
        members = by_key.setdefault(wrapper.config.key(), [])
        for kernel, state in zip(wrapper.chosen_kernels(), wrapper.state):
            if id(kernel.variable) in left:
                left.remove(id(kernel.variable))
                members.append(Member(kernel, state, wrapper))
    return [WrapperGroup(members) for members in by_key.values() if members]


def _parts(model: Any, wrappers: list[PruneLowMagnitude]) -> list[int]:
    """What a hook is made for: other wrappers, or layers frozen or thawed since, need a new one."""
    trained = model.trainable_variables if model.built else ()
    return [id(x) for x in (*wrappers, *trained)]


class Hook:
    """Prunes before and sheds after every step of one optimizer; `release` undoes it.

    Set on the object and not on its class, and no part of its configuration: a model is saved with
    the optimizer the user gave it.
    """

    def __init__(self, optimizer: Any, model: Any, wrappers: list[PruneLowMagnitude]):
        self.optimizer, self.wrappers = optimizer, wrappers
        self.made_for = _parts(model, wrappers)
        self._model = model
        self._groups: list[WrapperGroup] | None = None
        self._inner = optimizer.apply_gradients
        optimizer.apply_gradients = self._apply
        self._finalize: Any = getattr(optimizer, "finalize_variable_values", None)
        if self._finalize is not None:
            optimizer.finalize_variable_values = self._finalize_and_zero
        optimizer._tfshed_hook = self

    @property
    def groups(self) -> list[WrapperGroup]:
        if self._groups is None:
            with tf.init_scope():
                self._groups = groups_of(self.wrappers, self._model.trainable_variables)
                for group in self._groups:
                    group.start()
        return self._groups

    def release(self) -> None:
        for name in ("apply_gradients", "finalize_variable_values", "_tfshed_hook"):
            if name in vars(self.optimizer):
                delattr(self.optimizer, name)

    def _apply(self, grads_and_vars: Any, *args: Any, **kwargs: Any) -> Any:
        pairs = list(grads_and_vars)
        masked = mixes_elements(self.optimizer)
        for group in self.groups:
            pairs = group.before(pairs, masked)
        result = self._inner(pairs, *args, **kwargs)
        for group in self.groups:
            group.after()
        return result

    def _finalize_and_zero(self, *args: Any, **kwargs: Any) -> None:
        # A moving average over a time before the pruning is dense.
        self._finalize(*args, **kwargs)
        for group in self.groups:
            group.zero()


def innermost(optimizer: Any) -> Any:
    """The optimizer inside of any loss scaling."""
    while getattr(optimizer, "inner_optimizer", None) is not None:
        optimizer = optimizer.inner_optimizer
    return optimizer


def hook_of(optimizer: Any) -> Hook | None:
    return getattr(innermost(optimizer), "_tfshed_hook", None)


def bind(model: Any) -> Hook:
    """Makes the optimizer of a tf_keras model prune; done already, it does nothing.

    `UpdatePruningStep` calls it. Call it yourself where only tfmot's callbacks are used with a
    model that was loaded from a file.

    Args:
        model: a tf_keras model with wrappers, compiled, or with its `optimizer` set.

    Returns:
        The hook; its `groups` have masks, thresholds and counts.

    Raises:
        TypeError: no tf_keras model. ValueError: it has no optimizer, or nothing is wrapped in it.

    >>> from tfshed import tfmot
    >>> import tf_keras, tfshed
    >>> net = tf_keras.Sequential([tf_keras.layers.Dense(4, input_shape=(8,), name="head")])
    >>> model = tfmot.prune_low_magnitude(net, tfshed.ConstantSparsity(0.5, 0))
    >>> model.compile("sgd", "mse")
    >>> [kernel.path for kernel in tfmot.bind(model).groups[0].kernels]
    ['head/kernel']
    """
    if not isinstance(model, tf_keras.Model):
        raise TypeError(
            f"model: expected a tf_keras model, received {type(model).__module__}."
            f"{type(model).__name__}. Models of Keras 3 take tfshed.UpdatePruningStep()."
        )
    optimizer = innermost(getattr(model, "optimizer", None))
    if optimizer is None:
        raise ValueError(
            f"model: expected a compiled model, received {model.name} without an optimizer: call "
            "model.compile(...), or set model.optimizer in a custom training loop"
        )
    wrappers = wrappers_of(model)
    if not wrappers:
        raise ValueError(
            f"model: expected one from tfshed.prune_low_magnitude(...), received {model.name}, in "
            "which nothing is wrapped"
        )
    hook = hook_of(optimizer)
    if hook is None or hook.made_for != _parts(model, wrappers):
        if hook is not None:
            hook.release()
        hook = Hook(optimizer, model, wrappers)
        # Traced before, they have the optimizer as it was.
        model.train_function = model.train_tf_function = None
    for wrapper in wrappers:
        wrapper._hide(_model=weakref.ref(model))
    if all(wrapper.settled for wrapper in wrappers):
        hook.groups  # noqa: B018  # now, where variables have values
    return hook


class UpdatePruningStep(sparsity.UpdatePruningStep):
    """tfmot's callback for tf_keras models; makes the optimizer prune (`bind`).

    Where it stands among the callbacks does not matter. At the end of an epoch it warns, once each,
    when a net has shed itself more than a twentieth below its final target, and when a kernel is
    empty. In a custom training loop: `set_model(model)`, `on_train_begin()`, `on_epoch_end(0)`.

    Raises:
        TypeError, ValueError: as `bind`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._warned: set[str] = set()

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        # In a custom loop the optimizer may come later.
        if not isinstance(model, tf_keras.Model) or model.optimizer is not None:
            bind(model)

    def on_train_begin(self, logs: Any = None) -> None:
        # All that tfmot does here but counting from 0, which `bind` has seen to.
        bind(self.model)
        self.prunable_layers = wrappers_of(self.model)

    def on_epoch_end(self, batch: int, logs: Any = None) -> None:
        super().on_epoch_end(batch, logs)
        hook = hook_of(self.model.optimizer)
        for group in hook.groups if hook is not None else ():
            kept = [int(to_numpy(m).sum()) for m in group.masks]
            rho, final = sum(kept) / int(group.totals.sum()), group.config.final_sparsity
            if final is not None and rho < 0.95 * (1.0 - final) and group.sheds:
                self._warn(
                    f"the net has shed itself below its final target: keep-ratio {rho:.4f}, target "
                    f"{1.0 - final:.4f}. A lower learning rate or momentum, or "
                    "grow_threshold=False, sheds less.",
                    "below",
                )
            for kernel, n in zip(group.kernels, kept):
                if n == 0:
                    self._warn(
                        f"nothing is left of {kernel.path}: all its weights are pruned", kernel.path
                    )

    def _warn(self, text: str, what: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            warnings.warn(text, stacklevel=2)
