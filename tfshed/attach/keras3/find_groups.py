"""Which groups of kernels a `PruningOptimizer` prunes, looked up when it is built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tfshed.attach.group import PruningGroup
from tfshed.attach.keras3.declarations import groups_of


def find_groups(
    prune: Any,
    saved: Sequence[dict[str, Any]] | None,
    variables: Sequence[Any],
    steps: Callable[[Any], bool],
    only_stepped: bool,
) -> list[PruningGroup]:
    """The groups that an optimizer is to prune.

    Args:
        prune: the optimizer's argument `prune`: a model, layers, groups, or None.
        saved: the groups of an optimizer that was read from a file, which count without `prune`.
        variables: what the optimizer is built with.
        steps: whether the optimizer steps a variable.
        only_stepped: whether kernels that it does not step are left out; otherwise they are an
            error.

    Raises:
        ValueError: there is nothing to prune, or a kernel that the optimizer does not step.
    """
    if isinstance(prune, (list, tuple)) and isinstance(prune[0], PruningGroup):
        groups = list(prune)
    elif prune is not None:
        groups = groups_of(prune)
    elif saved is not None:
        groups = [PruningGroup.from_config(each, variables) for each in saved]
    else:
        raise ValueError(
            "PruningOptimizer: expected prune=model, a model from "
            "tfshed.prune_low_magnitude(...), received None"
        )
    if only_stepped:
        stepped = [[k for k in group.kernels if steps(k.variable)] for group in groups]
        return [group.restricted_to(own) for group, own in zip(groups, stepped) if own]
    strangers = [k.path for g in groups for k in g.kernels if not steps(k.variable)]
    if strangers:
        raise ValueError(
            "PruningOptimizer: expected every kernel to prune among the trainable variables it "
            f"is built with; these are not: {strangers}"
        )
    return groups
