"""`Selection`: the rules by which a user selects kernels."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Sequence
from typing import Any

from tfshed.attach.kernels import Candidate
from tfshed.attach.policies import PruningPolicy
from tfshed.attach.types import Select

logger = logging.getLogger("tfshed")

# A pattern (a regex or a callable) and what happens to the kernels that it matches: True means that
# they are pruned, False that they are not, and None that the callable's own answer decides.
Rule = tuple[Any, bool | None]
_EXPECTED = "select: expected None, a regex, a callable or a list of (regex or callable, bool)"


class Selection:
    """Decides by rules which kernels of a model are pruned.

    By default the kernels of all layers are pruned, but not those of depthwise convolutions and
    embeddings, nor biases and normalisation.

    Args:
        select: None (default) leaves it at the default. A regex is searched in the paths of
            kernels, such as "stage1_conv2/kernel"; the kernels that it matches are pruned, and no
            others. A function is called with a layer and a variable and returns True (prune it),
            False (leave it) or None (the default decides). A list holds pairs of a regex or
            function and a bool; the first pair whose regex matches, or whose function returns
            True, decides by its bool, and the default decides about the rest. Rules also select
            matrices that are not kernels, such as "reverse_embeddings". A bias of two axes or a
            scale of normalisation is selected only by a regex that holds its name, such as
            "query/bias".
        policy: A `tfshed.PruningPolicy`, whose refusal goes before the rules. None (default)
            refuses nothing.

    Raises:
        ValueError: `select` is nothing of this, a regex is malformed, or `policy` is no policy.

    >>> import keras, tfshed
    >>> layers = [keras.layers.Dense(4, name=name) for name in ("stem", "middle", "head")]
    >>> net = keras.Sequential([keras.Input((8,)), *layers])
    >>> rules = [("stem|head", False), (lambda layer, variable: layer.units > 2, True)]
    >>> pruned = tfshed.prune_low_magnitude(net, select=rules)
    >>> [layer.name for layer in pruned.layers]
    ['stem', 'prune_low_magnitude_middle', 'head']
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
        """Whether to prune a kernel, and the reason.

        Args:
            candidate: the kernel.
            explicit: whether the user named the layer, by wrapping it: what is otherwise off by
                default is then pruned.
        """
        path = candidate.kernel.path
        for i, (pattern, value) in enumerate(self.rules):
            verdict = _verdict(pattern, value, candidate)
            if verdict is None:
                continue
            self.used.add(i)
            name = _name(pattern)
            logger.info("select: %s %s by rule %s", path, "pruned" if verdict else "left", name)
            return verdict, f"rule {name}"
        # Who wraps a layer means the kernels in it, and no other matrices that it may have.
        if candidate.off_by_default and not (explicit and candidate.named_as_kernel):
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
                if any(_matches(pattern, c) for c in seen):
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


def _verdict(pattern: Any, value: bool | None, candidate: Candidate) -> bool | None:
    """What one rule says about a kernel; None if it does not match."""
    if isinstance(pattern, str):
        return value if _matches(pattern, candidate) else None
    if candidate.must_be_named:
        return None
    said = pattern(candidate.owner, candidate.kernel.variable)
    if value is not None:
        return value if said else None
    return None if said is None else bool(said)


def _matches(pattern: str, candidate: Candidate) -> bool:
    """Whether a regex is found in a path; for a bias it has to hold the word, as "query/bias"."""
    if candidate.must_be_named and candidate.own_name not in pattern:
        return False
    return re.search(pattern, candidate.kernel.path) is not None


def _name(pattern: Any) -> str:
    return repr(pattern) if isinstance(pattern, str) else getattr(pattern, "__name__", "callable")
