"""`KeepZeros`: keeps the zeros of a sparse model while it is trained further."""

from __future__ import annotations

import contextlib
import functools
import itertools
import weakref
from collections.abc import Iterator
from typing import Any

import keras

from tfshed.attach.decisions import decide
from tfshed.attach.group import PruningGroup
from tfshed.attach.keras3.declarations import declaring
from tfshed.attach.keras3.optimizer import PruningOptimizer
from tfshed.attach.keras3.wrapping import (
    check_optimizer,
    pruning_optimizers,
    unwrap_optimizers,
    wrap_optimizers,
)
from tfshed.attach.kernels import Kernel
from tfshed.attach.ownership import owner_of
from tfshed.attach.rules import Selection
from tfshed.attach.types import Logs, Select
from tfshed.attach.weak_table import WeakTable
from tfshed.core.backend import to_numpy
from tfshed.core.config import PruningConfig
from tfshed.core.schedules import OneShot

# No run reaches this step, so nothing is ever pruned and nothing is shed.
NEVER = OneShot(0.0, step=2**31 - 1)


@functools.cache
def holding_config() -> PruningConfig:
    """The configuration of a group that only holds zeros; made when it is first needed."""
    return PruningConfig(NEVER, scope="layer", threshold=0.0, hold_zeros=True)


class KeepZeros(keras.callbacks.Callback):
    """Keeps the zeros of any sparse model while it is trained further, whatever made them.

    A weight of a kernel that is zero at the start of `fit` is zero after every step. For this the
    callback puts a `tfshed.PruningOptimizer` around the model's optimizer and takes it out again
    when `fit` ends. If `fit` ends with an error, the optimizer is taken out when this callback is
    deleted, or when another `fit` begins with a callback of tfshed. The zeros of frozen kernels
    stay in any case.

    Args:
        select: Which kernels keep their zeros; see `tfshed.Selection`. None (default) means all
            kernels that have zeros.

    Raises:
        ValueError: at the start of `fit`, if the model is not compiled or no kernel has zeros.

    >>> import keras, numpy as np, tfshed
    >>> net = tfshed.sparsify(keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)]), 0.5)
    >>> net.compile("adam", "mse")
    >>> x, y = np.ones((4, 8), "float32"), np.ones((4, 4), "float32")
    >>> _ = net.fit(x, y, epochs=3, verbose=0, callbacks=[tfshed.KeepZeros()])
    >>> int(np.count_nonzero(net.get_weights()[0]))
    16
    """

    def __init__(self, select: Select = None) -> None:
        super().__init__()
        self._selection = Selection(select)
        self._finalizer: Any = None

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        check_optimizer(model)
        clear_leftovers(model)
        with_zeros = [
            d.kernel
            for d in decide(model, holding_config(), self._selection, explicit=True)
            if d.pruned and not to_numpy(d.kernel.variable).all()
        ]
        if not with_zeros:
            raise ValueError(
                f"expected a model with zeros in its kernels, received {model.name} with none"
            )
        kernels = [k for k in with_zeros if k.variable.trainable]
        if kernels:
            hold_zeros(model, kernels)
            _waiting[model] = True
            _holders[model] = number = next(_numbers)
            self._finalizer = weakref.finalize(self, _finish, weakref.ref(model), number)
            self._finalizer.atexit = False

    def on_train_begin(self, logs: Logs = None) -> None:
        _waiting.pop(self.model)

    def on_train_end(self, logs: Logs = None) -> None:
        if self._finalizer is not None:
            self._finalizer.detach()
        stop_holding(self.model)


# Models whose zeros are held by a callback of a fit that has not begun yet.
_waiting: WeakTable[bool] = WeakTable()
# Which callback, by a number, held the zeros of a model last.
_holders: WeakTable[int] = WeakTable()
_numbers = itertools.count(1)


def _finish(reference: Any, number: int) -> None:
    """Gives the optimizers back when a callback is deleted that never saw the end of its fit."""
    model = reference()
    if model is not None and _holders.get(model) == number:
        stop_holding(model)


def is_holding(group: PruningGroup) -> bool:
    """Whether a group only holds zeros."""
    return bool(group.config.schedule == NEVER)


def hold_zeros(model: Any, kernels: list[Kernel]) -> None:
    """Makes the optimizers of the model hold the zeros of trainable kernels."""
    found = pruning_optimizers(model)
    if not found:
        wrap_optimizers(model, lambda: [PruningGroup(holding_config(), kernels)])
        return
    for optimizer in found:
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
        owned = {id(k.variable) for group in optimizer.groups for k in group.kernels}
        for group in optimizer.groups:
            group.hold_present_zeros()
        others = [k for k in kernels if id(k.variable) not in owned and _stepped(optimizer, k)]
        if others:
            optimizer.add_group(PruningGroup(holding_config(), others))
            model.train_function = None


def _stepped(optimizer: PruningOptimizer, kernel: Kernel) -> bool:
    owner = owner_of(kernel.variable)
    return optimizer.was_built_with(kernel.variable) and (owner is None or not owner.in_use)


def stop_holding(model: Any) -> None:
    """Gives a model the optimizers back that it had before `hold_zeros`."""
    for optimizer in pruning_optimizers(model):
        holding = [group for group in optimizer.groups if is_holding(group)]
        if holding and len(holding) == len(optimizer.groups):
            unwrap_optimizers(model, note=False)
            return
        for group in holding:
            optimizer.remove_group(group)
            model.train_function = None


def clear_leftovers(model: Any) -> None:
    """Stops holding zeros for a fit that ended with an error."""
    if model not in _waiting:
        stop_holding(model)


@contextlib.contextmanager
def let_go_of_zeros(model: Any) -> Iterator[None]:
    """Stops holding the zeros of a model within the block, and holds them again afterwards.

    With this, the pruning optimizer can be put in wherever `KeepZeros` stands among the callbacks.
    """
    clear_leftovers(model)
    held = [
        kernel
        for optimizer in pruning_optimizers(model)
        for group in optimizer.groups
        if is_holding(group) and any(True for _ in declaring(model))
        for kernel in group.kernels
    ]
    if held:
        stop_holding(model)
    try:
        yield
    finally:
        if held:
            hold_zeros(model, held)
