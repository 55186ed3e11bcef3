"""Where tf_keras models are pruned: around the `apply_gradients` of their optimizer."""

from __future__ import annotations

import functools
import warnings
import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

from tfshed.attach.group import number_positions
from tfshed.attach.kernels import candidates
from tfshed.attach.mixing import mixes_elements
from tfshed.attach.starting import check_start
from tfshed.attach.tf_keras.group import WrapperGroup
from tfshed.attach.tf_keras.private import layers_in, optimizers_in, set_untracked
from tfshed.attach.tf_keras.real import tf_keras
from tfshed.attach.tf_keras.state import Member
from tfshed.attach.tf_keras.wrapper import PruneLowMagnitude
from tfshed.core.backend import to_numpy
from tfshed.core.config import PruningConfig


def wrappers_of(model: Any) -> list[PruneLowMagnitude]:
    """The wrappers in a tf_keras model, nested ones too, each once."""
    found: dict[int, PruneLowMagnitude] = {}
    for layer in layers_in(model):
        if isinstance(layer, PruneLowMagnitude):
            found.setdefault(id(layer), layer)
    return list(found.values())


def groups_of(wrappers: Sequence[PruneLowMagnitude]) -> list[WrapperGroup]:
    """The kernels that train, by configuration; frozen layers are left as they are."""
    left = {id(v) for wrapper in wrappers for v in wrapper.trainable_weights}
    by_key: dict[str, list[Member]] = {}
    for wrapper in wrappers:
        members = by_key.setdefault(wrapper.config.key(), [])
        for kernel, state in zip(wrapper.chosen_kernels(), wrapper.state):
            if id(kernel.variable) in left:
                left.remove(id(kernel.variable))
                members.append(Member(kernel, state, wrapper))
    return [WrapperGroup(members) for members in by_key.values() if members]


class Hook:
    """Prunes before and sheds after every step of the optimizers of a model; `release` undoes it.

    It stands in for two methods of each optimizer object, not of its class, and is no part of its
    configuration: a model is saved with the optimizer the user gave it. A group of kernels is
    pruned in the steps in which one of its kernels is updated, whichever optimizer does that.

    Args:
        optimizers: of tf_keras. Where the loss is scaled, the steps of the innermost one count, so
            that a step that is skipped is no pruning step.
        model: the model that is trained.
        wrappers: those of its wrappers that these optimizers prune.
        chosen: whether the user named the optimizer, so that it counts whatever the model was
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
        self.made_for = _parts(optimizers, wrappers)
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
                tell_what_is_left(self.wrappers, bool(groups))
            self._groups = groups
            self.begin()
        return self._groups

    def begin_anew(self, start: str) -> None:
        """Lets the next `begin` look at the masks once more, as a new `fit` does.

        Args:
            start: "auto", "continue" or "again", see `tfshed.UpdatePruningStep`.
        """
        self._start = start

    def begin(self) -> None:
        """Before training: makes or checks the masks; done already, it does nothing."""
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
        """The factors of the loss now, of the optimizers that scale it."""
        scales = [getattr(each, "loss_scale", None) for each in self._outer]
        return [float(to_numpy(scale)) for scale in scales if scale is not None]

    def is_in_use(self) -> bool:
        """Whether these are the optimizers that train the model, as far as can be known here."""
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
        """The groups of these variables: an optimizer may train parts of a model in turns."""
        given = {id(variable) for variable in variables}
        return [g for g in self.groups if any(id(k.variable) in given for k in g.kernels)]

    def _finalize(self, optimizer: Any, finalize: Any, *args: Any, **kwargs: Any) -> None:
        # A moving average over a time before the pruning is dense.
        finalize(*args, **kwargs)
        for group in self.groups:
            group.zero()


def _parts(optimizers: Sequence[Any], wrappers: Sequence[PruneLowMagnitude]) -> list[int]:
    """What a hook is made for; if optimizers, wrappers or what is trained change, so does this."""
    return [*map(id, optimizers), *(id(x) for w in wrappers for x in (w, *w.trainable_weights))]


def reasons_to_skip(layer: Any, config: PruningConfig) -> list[tuple[str, str]]:
    """The kernels of a layer that do not fit a granularity: their paths and the reasons."""
    found = []
    for kernel in (c.kernel for c in candidates(layer) if c.named_as_kernel):
        reason = config.granularity.reason_to_skip(tuple(kernel.variable.shape), kernel.axes)
        if reason:
            found.append((kernel.path, reason))
    return found


def tell_what_is_left(wrappers: Sequence[PruneLowMagnitude], some_pruned: bool) -> None:
    """Says which wrapped layers are not pruned, and why.

    Raises:
        ValueError: nothing is pruned, and not because layers are frozen.
    """
    frozen, reasons = [], []
    for wrapper in wrappers:
        kernels = wrapper.chosen_kernels()
        trained = {id(v) for v in wrapper.trainable_weights}
        if kernels and not any(id(kernel.variable) in trained for kernel in kernels):
            frozen.append(wrapper.name)
        elif not kernels:
            reasons += reasons_to_skip(wrapper.layer, wrapper.config)
    told = "; ".join(f"{path}: {reason}" for path, reason in reasons)
    if reasons and not some_pruned and not frozen:
        raise ValueError(f"expected a kernel to prune in the wrapped layers, found none: {told}")
    if reasons:
        warnings.warn(f"kernels of wrapped layers are not pruned: {told}", stacklevel=2)
    if frozen and not some_pruned:
        warnings.warn(
            f"nothing is pruned: the wrapped layers {frozen} are not trainable. Make them "
            "trainable, compile the model, and they are pruned from the next fit on.",
            stacklevel=2,
        )


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


def bind(model: Any, optimizer: Any = None, start: str | None = None) -> Hook:
    """Makes an optimizer prune a tf_keras model; done already, it does nothing.

    `UpdatePruningStep` calls it. Call it yourself where only tfmot's callbacks are used with a
    model that was loaded from a file, or where `train_step` or a custom loop steps with an
    optimizer that the model was not compiled with.

    Args:
        model: a tf_keras model with wrappers, or the part of one that the optimizer trains.
        optimizer: the tf_keras optimizer whose steps prune. Default None: all that the model
            holds: `model.optimizer`, and for a `train_step` of its own those in other attributes.
            One that was named for a layer goes on pruning it when the model is bound
            again without one.
        start: how masks begin if the kernels were pruned before: "auto", "continue" or "again", as
            in `UpdatePruningStep`. Default None: "auto", but only where this has something to do.

    Returns:
        The hook; its `groups` have masks, thresholds and counts.

    Raises:
        TypeError: no tf_keras model, or no optimizer. ValueError: it has no optimizer, nothing is
            wrapped in it, or the wrappers find nothing that fits their granularity.

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
        hook.begin_anew(check_start(start))
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
        _parts(optimizers, wrappers),
        chosen,
    ):
        return there[0]
    for hook in [*there, *(w.hook for w in wrappers)]:
        if hook is not None:
            hook.release()
    # Traced before, they have the optimizers as they were.
    model.train_function = model.train_tf_function = None
    return Hook(optimizers, model, wrappers, chosen)
