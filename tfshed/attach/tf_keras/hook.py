"""Where tf_keras models are pruned: around the `apply_gradients` of their optimizer."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

from tfshed.attach.group import number_positions
from tfshed.attach.mixing import mixes_elements
from tfshed.attach.tf_keras.group import WrapperGroup
from tfshed.attach.tf_keras.private import set_untracked
from tfshed.attach.tf_keras.wrapped import groups_of, warn_of_unpruned, wrappers_of
from tfshed.attach.tf_keras.wrapper import PruneLowMagnitude
from tfshed.core.backend import to_numpy


class Hook:
    """Prunes before and sheds after every step of the optimizers of a model; `release` undoes it.

    It replaces two methods of each optimizer object, not of its class, and is no part of its
    configuration: a model is saved with the optimizer the user gave it. A group of kernels is
    pruned in the steps in which one of its kernels is updated, whichever optimizer does that.

    Args:
        optimizers: The optimizers of tf_keras. Where the loss is scaled, the steps of the innermost
            one count, so that a skipped step is no pruning step.
        model: The model that is trained.
        wrappers: Those of its wrappers whose kernels these optimizers prune.
        chosen: Whether the user named the optimizer; then it is in use whatever the model was
            compiled with.
    """

    def __init__(
        self,
        optimizers: Sequence[Any],
        model: Any,
        wrappers: Sequence[PruneLowMagnitude],
        chosen: bool,
    ):
        self.optimizers = [innermost(each) for each in optimizers]
        self.wrappers, self.chosen = list(wrappers), chosen
        self.made_for = parts(optimizers, wrappers)
        self._outer, self._model = list(optimizers), weakref.ref(model)
        self._groups: list[WrapperGroup] | None = None
        # How the masks are to begin; None: they have begun.
        self._start: str | None = "auto"
        for optimizer in self.optimizers:
            for name, wrap in (
                ("apply_gradients", self._apply),
                ("finalize_variable_values", self._finalize),
            ):
                method = getattr(optimizer, name, None)
                if method is not None:
                    setattr(optimizer, name, functools.partial(wrap, optimizer, method))
        for wrapper in self.wrappers:
            set_untracked(wrapper, _hook=weakref.ref(self), was_trained=False)

    @property
    def groups(self) -> list[WrapperGroup]:
        """The kernels that this optimizer prunes, with their state; made when first asked for."""
        if self._groups is None:
            with tf.init_scope():
                groups = groups_of(self.wrappers)
                number_positions(groups)
                warn_of_unpruned(self.wrappers, bool(groups))
            self._groups = groups
            self.begin()
        return self._groups

    def ask_again(self, start: str) -> None:
        """Lets the next `begin` decide once more how the masks begin, as a new `fit` does.

        Args:
            start: "auto", "continue" or "again", see `tfshed.UpdatePruningStep`.
        """
        self._start = start

    def begin(self) -> None:
        """Makes or checks the masks before training; does nothing the second time."""
        if self._start is None or not all(wrapper.settled for wrapper in self.wrappers):
            return
        start, groups, self._start = self._start, self.groups, None
        with tf.init_scope():
            step = max(int(to_numpy(optimizer.iterations)) for optimizer in self.optimizers)
            for group in groups:
                group.start(step, start)

    @property
    def step(self) -> int:
        """Optimizer steps done; -1 as long as the layers have not made their kernels."""
        # Not `groups`, which would be made too early then.
        return max([-1, *(int(to_numpy(group.step)) for group in self._groups or ())])

    @property
    def loss_scales(self) -> list[float]:
        """The present loss scales of those optimizers that scale the loss."""
        scales = [getattr(each, "loss_scale", None) for each in self._outer]
        return [float(to_numpy(scale)) for scale in scales if scale is not None]

    def is_in_use(self) -> bool:
        """Whether these optimizers train the model, as far as this can be known."""
        model = self._model()
        if self.chosen or model is None:
            return self.chosen
        compiled = innermost(getattr(model, "optimizer", None))
        return compiled is None or any(compiled is each for each in self.optimizers)

    def release(self) -> None:
        """Gives the optimizers their own methods back, and frees the wrappers."""
        for optimizer in self.optimizers:
            for name in ("apply_gradients", "finalize_variable_values"):
                if _hook_behind(vars(optimizer).get(name)) is self:
                    delattr(optimizer, name)
        for wrapper in self.wrappers:
            if wrapper.hook is self:
                set_untracked(wrapper, _hook=None)

    def _apply(
        self, optimizer: Any, step: Any, grads_and_vars: Any, *args: Any, **kwargs: Any
    ) -> Any:
        pairs = list(grads_and_vars)
        stepping = self._groups_among([variable for _, variable in pairs])
        masked = mixes_elements(optimizer)
        for group in stepping:
            pairs = group.before(pairs, masked, optimizer)
        result = step(pairs, *args, **kwargs)
        for group in stepping:
            group.after()
        return result

    def _groups_among(self, variables: Iterable[Any]) -> list[WrapperGroup]:
        """The groups with one of these variables; an optimizer may train parts in turns."""
        given = {id(variable) for variable in variables}
        return [g for g in self.groups if any(id(k.variable) in given for k in g.kernels)]

    def _finalize(self, optimizer: Any, finalize: Any, *args: Any, **kwargs: Any) -> None:
        # The moving average of a weight that was pruned meanwhile is not zero.
        finalize(*args, **kwargs)
        for group in self.groups:
            group.write_zeros()


def parts(optimizers: Sequence[Any], wrappers: Sequence[PruneLowMagnitude]) -> list[int]:
    """Identifies what a hook was made for: its optimizers, wrappers and the trained variables."""
    return [*map(id, optimizers), *(id(x) for w in wrappers for x in (w, *w.trainable_weights))]


def innermost(optimizer: Any) -> Any:
    """The optimizer inside of any loss scaling."""
    while getattr(optimizer, "inner_optimizer", None) is not None:
        optimizer = optimizer.inner_optimizer
    return optimizer


def hook_of(optimizer: Any) -> Hook | None:
    """The hook of an optimizer; None if it does not prune."""
    inner = innermost(optimizer)
    return None if inner is None else _hook_behind(vars(inner).get("apply_gradients"))


def _hook_behind(method: Any) -> Hook | None:
    hook = getattr(getattr(method, "func", None), "__self__", None)
    return hook if isinstance(hook, Hook) else None


def hooks_of(model: Any) -> list[Hook]:
    """The hooks of all optimizers that prune a tf_keras model: mostly one."""
    found = {id(w.hook): w.hook for w in wrappers_of(model) if w.hook is not None}
    return [hook for hook in found.values() if hook.is_in_use()]
