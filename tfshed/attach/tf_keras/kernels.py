"""Which variables of tf_keras layers are kernels: `tfshed.attach.policies` for Keras 2."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from tfshed.attach import policies
from tfshed.attach.group import Kernel
from tfshed.attach.policies import Candidate, Choice, Selection
from tfshed.attach.tf_keras.real import prune_registry, pruning_wrapper
from tfshed.core.config import PruningConfig


class _Named(NamedTuple):
    """A variable, as `tfshed.attach.policies` asks for it: with the name that Keras 3 gives it."""

    name: str
    shape: tuple[int, ...]


class Prunable:
    """The `get_prunable_weights` of a layer that brings none of its own: tfmot asks for one."""

    def __init__(self, layer: Any):
        self._layer = layer

    def __call__(self) -> list[Any]:
        return [c.kernel.variable for c in candidates(self._layer) if not c.off_by_default]


def _names_its_own(layer: Any) -> bool:
    method = getattr(layer, "get_prunable_weights", None)
    if method is None or isinstance(layer, pruning_wrapper.PruneLowMagnitude):
        return False
    # tfmot puts such a method on every layer that it wraps.
    registry = prune_registry.PruneRegistry.__name__
    return not isinstance(method, Prunable) and registry not in getattr(method, "__qualname__", "")


def _own(layer: Any) -> Iterator[tuple[Any, bool]]:
    """The layer's own kernels, and whether it named them itself."""
    if _names_its_own(layer):
        # Before it is built, it may not have what it names.
        for variable in layer.get_prunable_weights() if layer.built else ():
            yield variable, True
    elif not isinstance(layer, pruning_wrapper.PruneLowMagnitude):
        for variable in [*layer._trainable_weights, *layer._non_trainable_weights]:
            if len(variable.shape) >= 2 and policies._is_kernel_name(_tail(variable)):
                yield variable, False


def path(variable: Any) -> str:
    """`hidden/kernel` of `hidden/kernel:0`."""
    return str(variable.name).split(":")[0]


def _tail(variable: Any) -> str:
    return path(variable).split("/")[-1]


def candidates(layer: Any) -> list[Candidate]:
    """All kernels of a tf_keras layer or model, in the order of its layers; shared ones once."""
    found: list[Candidate] = []
    seen: set[int] = set()

    def walk(current: Any) -> None:
        if id(current) in seen:
            return
        seen.add(id(current))
        own = list(_own(current))
        for variable, named in own:
            if id(variable) not in seen:
                seen.add(id(variable))
                like = _Named(_tail(variable), tuple(variable.shape))
                off = None if named else policies._off_by_default(current, like)
                kernel = Kernel(variable, policies._axes(current, like), path(variable))
                found.append(Candidate(kernel, current, off))
        if not any(named for _, named in own):
            for child in current._flatten_layers(include_self=False, recursive=False):
                walk(child)

    walk(layer)
    return found


def choose(
    layer: Any, config: PruningConfig, selection: Selection, explicit: bool = False
) -> tuple[list[Candidate], list[int], list[Choice]]:
    """All candidates, the indices of those to prune, and a report row for each."""
    found = candidates(layer)
    chosen, rows = [], []
    for i, candidate in enumerate(found):
        kernel, owner = candidate.kernel, candidate.owner
        fit, reason = policies._fitness(candidate, config)
        if selection.policy is not None and not selection.policy.allow_pruning(owner):
            fit, reason = False, f"pruning policy {type(selection.policy).__name__}"
        # Rules are asked in any case, so that a pattern on a frozen layer is no unknown name.
        wanted, why = selection.decide(candidate, explicit)
        if fit and wanted:
            chosen.append(i)
        rows.append(
            Choice(
                kernel.path,
                type(owner).__name__,
                tuple(kernel.variable.shape),
                fit and wanted,
                why if fit else reason,
            )
        )
    return found, chosen, rows
