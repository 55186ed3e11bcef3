"""Who prunes a kernel: a table from variables to their owner, its masks and its threshold.

A kernel has at most one owner, the optimizer that claimed it last. What the owner knows of the
kernel (mask, threshold, counts) stays in the table when the optimizer is deleted, so that one that
is compiled later can continue with it. `release` takes it out of the table.
"""

from __future__ import annotations

import dataclasses
import itertools
import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from tfshed.attach.group_state import GroupState
from tfshed.attach.keras3 import private
from tfshed.attach.weak_table import WeakTable
from tfshed.core.backend import read, to_numpy


@dataclasses.dataclass(frozen=True, eq=False)
class Owner:
    """The entry of one kernel in the table of owners.

    Attributes:
        state: The state of the group that the kernel belongs to.
        index: The number of the kernel in that group.
        number: The number of the claim; a later claim has a higher one.
    """

    state: GroupState
    index: int
    number: int
    _optimizer: Any
    _model: Any

    @property
    def optimizer(self) -> Any:
        """The optimizer that claimed the kernel, or None if it is gone."""
        return self._optimizer()

    @property
    def model(self) -> Any:
        """The model whose training uses the optimizer; None in a training loop of one's own."""
        return None if self._model is None else self._model()

    @property
    def in_use(self) -> bool:
        """Whether the optimizer is still there and, if it was put into a model, still in it."""
        optimizer = self.optimizer
        if optimizer is None or self._model is None:
            return optimizer is not None
        model = self.model
        if model is None:
            return False
        # The compiled optimizer is looked at first, since PyTorch runs this in every call.
        compiled = chain(getattr(model, "optimizer", None))
        return any(each is optimizer for each in compiled) or any(
            each is optimizer for each in optimizers_in(model)
        )

    @property
    def threshold(self) -> Any:
        """The shedding threshold of this kernel, a float32 number."""
        return to_numpy(self.state.threshold)[self.state.scopes[self.index]]

    def mask(self, variable: Any, axes: Any) -> Any:
        """The mask at the kernel's shape: bool tensor, True = kept."""
        stored = read(self.state.masks[self.index])
        return self.state.config.granularity.expand(stored, tuple(variable.shape), axes)


_owners: WeakTable[Owner] = WeakTable()
_pruned: WeakTable[bool] = WeakTable()
_models: WeakTable[Any] = WeakTable()
_numbers = itertools.count()


def claim(optimizer: Any, state: GroupState, variables: Sequence[Any], model: Any = None) -> None:
    """Makes an optimizer the owner of kernels; their owners before lose them.

    Args:
        optimizer: the one that prunes them in its steps.
        state: what it knows of them.
        variables: the kernels, in the order of `state.masks`.
        model: the compiled model whose optimizer it is; None for a training loop of one's own.
    """
    number = next(_numbers)
    where = None if model is None else weakref.ref(model)
    for i, variable in enumerate(variables):
        _owners[variable] = Owner(state, i, number, weakref.ref(optimizer), where)


def owner_of(variable: Any) -> Owner | None:
    """The owner of a kernel, or the last one it had; None if no optimizer ever claimed it."""
    return _owners.get(variable)


def check_sole_owner(optimizer: Any, kernels: Iterable[Any]) -> None:
    """Raises RuntimeError if another optimizer that is in use prunes one of the kernels.

    Args:
        optimizer: the one that is about to step them.
        kernels: objects of `tfshed.attach.kernels.Kernel`.
    """
    for kernel in kernels:
        owner = owner_of(kernel.variable)
        if owner is not None and owner.optimizer is not optimizer and owner.in_use:
            raise RuntimeError(
                f"{kernel.path} is stepped by {optimizer.name}, but {owner.optimizer.name} prunes "
                "it: expected one optimizer for each kernel. Train with the one that was made "
                "last, or call tfshed.strip_pruning(model) and declare anew."
            )


def release(variables: Sequence[Any], note: bool = True) -> None:
    """Forgets who prunes these kernels.

    Args:
        variables: the kernels.
        note: whether to note, where the masks took weights, that the zeros are pruned weights.
    """
    for variable in variables:
        if note and was_pruned(variable):
            note_pruned(variable)
        _owners.pop(variable)


def owned_by(optimizer: Any) -> list[Any]:
    """The kernels that an optimizer owns."""
    return [v for v, owner in _owners.items() if owner.optimizer is optimizer]


def transfer(optimizer: Any, model: Any) -> None:
    """Notes that the owner of kernels is the optimizer of `model` from now on."""
    for variable in owned_by(optimizer):
        owner = _owners.get(variable)
        assert owner is not None
        _owners[variable] = dataclasses.replace(owner, _model=weakref.ref(model))


def note_pruned(variable: Any) -> None:
    """Notes that the zeros of a kernel are pruned weights: the next owner holds them."""
    _pruned[variable] = True


def was_pruned(variable: Any) -> bool:
    """Whether weights of this kernel were pruned: now, before a release, or before it was saved."""
    owner = owner_of(variable)
    if owner is None or owner.state.config.observe:
        return variable in _pruned
    return variable in _pruned or not np.all(to_numpy(owner.state.masks[owner.index]))


def expect(layer: Any, model: Any) -> None:
    """Notes that a declaring layer is trained by the optimizers of a compiled model."""
    _models[layer] = weakref.ref(model)


def expected_in(layer: Any) -> Any:
    """The model whose optimizers are to prune a declaring layer, or None."""
    reference = _models.get(layer)
    return None if reference is None else reference()


def chain(optimizer: Any) -> list[Any]:
    """An optimizer and those inside of it, outermost first."""
    found: list[Any] = []
    while optimizer is not None and not any(optimizer is each for each in found):
        found.append(optimizer)
        optimizer = getattr(optimizer, "inner_optimizer", None)
    return found


def optimizers_in(model: Any) -> list[Any]:
    """All optimizers of a model: the compiled one, those in attributes, and those inside them."""
    return [each for _, _, outer in held_optimizers(model) for each in chain(outer)]


def held_optimizers(model: Any) -> list[tuple[Any, Any, Any]]:
    """Where a model holds optimizers: (object, attribute, optimizer), each optimizer once.

    The compiled one comes first. A model with a `train_step` of its own may hold others in its
    attributes, as generative adversarial networks do, and so may the models in it; there they may
    lie in lists and dictionaries, too: then (list, index, optimizer).
    """
    found: list[tuple[Any, Any, Any]] = []
    if getattr(model, "optimizer", None) is not None:
        found.append((model, "optimizer", model.optimizer))

    def add(holder: Any, name: Any, value: Any) -> None:
        # Most attributes are no optimizers, and this runs before every `train_on_batch`.
        if not isinstance(value, keras.optimizers.Optimizer):
            return
        if not any(value is one for _, _, other in found for one in chain(other)):
            found.append((holder, name, value))

    for layer in private.layers_in(model):
        for name, value in list(vars(layer).items()):
            if name in ("_optimizer", "optimizer") and layer is model:
                continue
            add(layer, name, value)
            if isinstance(value, list):
                for i, each in enumerate(value):
                    add(value, i, each)
            elif isinstance(value, dict) and not name.startswith("_"):
                for key, each in list(value.items()):
                    add(value, key, each)
    return found
