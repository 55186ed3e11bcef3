"""Which variables of a model are pruned, which are not, and why.

A kernel is a trainable floating variable of two or more axes that its layer hands out by
`get_prunable_weights()`, or whose name says so: `kernel`, or anything that ends in `_kernel`.
Biases, normalisation and everything else pass by without a word; kernels that stay dense are listed
with the reason.
"""

from __future__ import annotations

import abc
import dataclasses
import difflib
import logging
import re
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from tfshed.attach.group import Kernel
from tfshed.core.backend import to_numpy
from tfshed.core.config import PruningConfig
from tfshed.core.granularity import Axes

logger = logging.getLogger("tfshed")

# None: the callable says itself, True, False or None.
Rule = tuple[Any, bool | None]
Select = Any
_EXPECTED = "select: expected None, a regex, a callable or a list of (regex or callable, bool)"


class PrunableLayer(abc.ABC):
    """Mix-in for a custom layer that says itself which of its weights are pruned (as in tfmot).

    Any layer with such a method will do; the class is for `isinstance` and for readers.

    >>> import keras, tfshed
    >>> class Scaled(keras.layers.Layer, tfshed.PrunableLayer):
    ...     def build(self, shape):
    ...         self.table = self.add_weight(shape=(shape[-1], 2), name="table")
    ...
    ...     def call(self, x):
    ...         return x @ self.table
    ...
    ...     def get_prunable_weights(self):
    ...         return [self.table]
    """

    @abc.abstractmethod
    def get_prunable_weights(self) -> Sequence[Any]:
        """The variables to prune, once the layer is built."""


class PruningPolicy(abc.ABC):
    """Says layer by layer what may be pruned (as in tfmot)."""

    @abc.abstractmethod
    def allow_pruning(self, layer: Any) -> bool:
        """Whether this layer may be pruned."""

    def ensure_model_supports_pruning(self, model: Any) -> None:  # noqa: B027
        """Raises ValueError if the model as a whole does not suit the policy's purpose."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """What became of one kernel: a row of the report."""

    path: str
    layer: str
    shape: tuple[int, ...]
    pruned: bool
    reason: str


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """A kernel of a layer, with all that a choice can rest on."""

    kernel: Kernel
    owner: Any
    off_by_default: str | None


def _children(layer: Any) -> Iterator[Any]:
    return iter(layer._flatten_layers(include_self=False, recursive=False))


def _is_kernel_name(name: str) -> bool:
    return name in ("kernel", "embeddings") or name.endswith("_kernel")


def _own_kernels(layer: Any) -> tuple[list[Any], bool]:
    """The layer's own kernels, and whether it named them itself."""
    # A wrapper speaks of kernels of the layer in it, which knows their axes.
    if hasattr(layer, "get_prunable_weights") and not hasattr(layer, "chosen_kernels"):
        return list(layer.get_prunable_weights()), True
    own = [*layer._trainable_variables, *layer._non_trainable_variables]
    return [v for v in own if _is_kernel_name(v.name) and len(v.shape) >= 2], False


def _axes(layer: Any, variable: Any) -> Axes:
    rank, kind = len(variable.shape), type(layer).__name__
    if variable.name in ("embeddings", "depthwise_kernel") or kind.startswith("Depthwise"):
        return Axes(None, rank - 1)
    equation = getattr(layer, "equation", None)
    if isinstance(equation, str) and variable.name == "kernel":
        operands, output = equation.replace(" ", "").split("->")
        letters = operands.split(",")[1]
        summed = [i for i, c in enumerate(letters) if c not in output]
        others = [i for i, c in enumerate(letters) if c in output]
        return Axes(summed[-1] if summed else None, others[-1] if others else None)
    if kind.endswith("Transpose") and rank >= 3:
        return Axes(rank - 1, rank - 2)
    return Axes(rank - 2, rank - 1)


def _off_by_default(layer: Any, variable: Any) -> str | None:
    if variable.name == "depthwise_kernel" or type(layer).__name__.startswith("Depthwise"):
        return "depthwise"
    # So ConvNeXt writes its own: every group has one input channel.
    if getattr(layer, "groups", 1) > 1 and variable.shape[-2] == 1:
        return "depthwise"
    return "embedding" if variable.name == "embeddings" else None


def candidates(layer: Any) -> list[Candidate]:
    """All kernels of a layer or model, in the order of its layers; shared ones once."""
    found: list[Candidate] = []
    seen: set[int] = set()

    def walk(current: Any) -> None:
        if id(current) in seen:
            return
        seen.add(id(current))
        kernels, named = _own_kernels(current)
        for v in kernels:
            if id(v) not in seen:
                seen.add(id(v))
                kernel = Kernel(v, _axes(current, v), getattr(v, "path", v.name))
                off = None if named else _off_by_default(current, v)
                found.append(Candidate(kernel, current, off))
        # A layer that names its weights names all of them.
        for child in () if named else _children(current):
            walk(child)

    walk(layer)
    return found


class Selection:
    """Rules "first match wins" over kernel paths and layers.

    Args:
        select: None (every kernel that is not off by default); a regex, searched in kernel paths
            such as "stage1_conv2/kernel": what matches is pruned and nothing else; a callable
            (layer, variable) -> True, False or None for no opinion; or a list of (regex or
            callable, bool), the first that matches (a callable: says True) decides and what no rule
            matches falls under the default.
        policy: a `PruningPolicy`, asked before the rules.

    Raises:
        ValueError: naming what was expected and what came.
    """

    def __init__(self, select: Select = None, policy: PruningPolicy | None = None):
        if policy is not None and not hasattr(policy, "allow_pruning"):
            raise ValueError(
                "pruning_policy: expected a PruningPolicy, an object with "
                f"allow_pruning(layer), received {policy!r}"
            )
        self.policy = policy
        self.rules: list[Rule] = []
        if isinstance(select, str):
            self.rules = [(select, True), (".*", False)]
        elif callable(select):
            self.rules = [(select, None)]
        elif isinstance(select, (list, tuple)):
            self.rules = [_rule(entry) for entry in select]
        elif select is not None:
            raise ValueError(f"{_EXPECTED}, received {select!r}")
        for pattern, _ in self.rules:
            if isinstance(pattern, str):
                try:
                    re.compile(pattern)
                except re.error as error:
                    raise ValueError(
                        f"select: expected a regex, received {pattern!r}: {error}"
                    ) from None
        self.used: set[int] = set()

    def decide(self, candidate: Candidate, explicit: bool) -> tuple[bool, str]:
        """Whether to prune, and why (not)."""
        kernel, owner = candidate.kernel, candidate.owner
        for i, (pattern, value) in enumerate(self.rules):
            if isinstance(pattern, str):
                verdict = value if re.search(pattern, kernel.path) else None
            else:
                verdict = pattern(owner, kernel.variable)
                if value is not None:
                    verdict = value if verdict else None
            if verdict is None:
                continue
            self.used.add(i)
            name = (
                repr(pattern)
                if isinstance(pattern, str)
                else getattr(pattern, "__name__", "callable")
            )
            logger.info(
                "select: %s %s by rule %s", kernel.path, "pruned" if verdict else "left", name
            )
            return bool(verdict), f"rule {name}"
        if candidate.off_by_default and not explicit:
            return (
                False,
                f"{candidate.off_by_default}: off by default, select it by name to prune it",
            )
        return True, ""

    def check_used(self, seen: Sequence[Candidate]) -> None:
        """Raises ValueError for a pattern that matched nothing, naming the nearest path."""
        paths = [c.kernel.path for c in seen]
        for i, (pattern, _) in enumerate(self.rules):
            if isinstance(pattern, str) and i not in self.used and pattern != ".*":
                if any(re.search(pattern, p) for p in paths):
                    continue  # an earlier rule decided about all of them
                near = difflib.get_close_matches(pattern, paths, n=3, cutoff=0.3)
                raise ValueError(
                    f"select: expected a pattern that matches a kernel, received {pattern!r}, "
                    f"which matches none of {len(paths)}. "
                    + (f"Nearest: {near}. " if near else f"Kernels: {paths[:10]}. ")
                    + "Patterns are searched in kernel paths."
                )


def _rule(entry: Any) -> Rule:
    if (
        isinstance(entry, (tuple, list))
        and len(entry) == 2
        and (isinstance(entry[0], str) or callable(entry[0]))
        and isinstance(entry[1], bool)
    ):
        return entry[0], entry[1]
    raise ValueError(f"{_EXPECTED}, received an entry {entry!r}")


def choose(
    layer: Any, config: PruningConfig, selection: Selection, explicit: bool = False
) -> tuple[list[Candidate], list[int], list[Choice]]:
    """Decides about every kernel of a layer or model.

    Returns:
        All candidates, the indices of those to prune, and a report row for each.
    """
    found = candidates(layer)
    chosen, rows = [], []
    for i, candidate in enumerate(found):
        v = candidate.kernel.variable
        shape = tuple(v.shape)
        pruned, reason = _fitness(candidate, config)
        if selection.policy is not None and not selection.policy.allow_pruning(candidate.owner):
            pruned, reason = False, f"pruning policy {type(selection.policy).__name__}"
        # Rules are asked in any case, so that a pattern on a frozen layer is no unknown name.
        wanted, why = selection.decide(candidate, explicit)
        if pruned and not wanted:
            pruned, reason = False, why
        if pruned:
            chosen.append(i)
        rows.append(
            Choice(candidate.kernel.path, type(candidate.owner).__name__, shape, pruned, reason)
        )
    return found, chosen, rows


def check_some(model: Any, rows: list[Choice]) -> None:
    """Raises ValueError if nothing of a model is to be pruned, saying why."""
    if not any(row.pruned for row in rows):
        left = "; ".join(f"{r.path}: {r.reason}" for r in rows) or "the model has no kernels"
        raise ValueError(f"model: expected a kernel to prune in {model.name}, found none: {left}")


def check_finite(found: list[Candidate], rows: list[Choice]) -> None:
    """Raises ValueError if a kernel that is to be pruned holds NaN or infinity."""
    bad = [
        row.path
        for c, row in zip(found, rows)
        if row.pruned and not np.isfinite(to_numpy(c.kernel.variable).astype("float32")).all()
    ]
    if bad:
        raise ValueError(f"to_prune: expected finite weights, received NaN or infinity in {bad}")


def _fitness(candidate: Candidate, config: PruningConfig) -> tuple[bool, str]:
    v, axes = candidate.kernel.variable, candidate.kernel.axes
    if not keras.backend.is_float_dtype(v.dtype):
        return False, f"dtype {v.dtype}: only floating weights are pruned"
    if not v.trainable or not candidate.owner.trainable:
        return False, "not trainable (frozen)"
    reason = config.granularity.reason_to_skip(tuple(v.shape), axes)
    return (False, reason) if reason else (True, "")
