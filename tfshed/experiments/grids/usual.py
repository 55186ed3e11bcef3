"""Rows and columns that several grids have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# The six ways of retraining that Renda et al. 2020 and Le & Hua 2021 compare.
SIX = (
    "fine_tune",
    "rewind_rate",
    "rewind_weights",
    "scaled_restart",
    "one_cycle",
    "reinitialize",
)


def strategies(names: Iterable[str] = SIX, **changes: Any) -> dict[str, dict[str, Any]]:
    """A row for each strategy.

    >>> strategies(("fine_tune",), epochs=30)
    {'fine_tune': {'retrain.strategy': 'fine_tune', 'retrain.epochs': 30}}
    """
    more = {f"retrain.{field}": value for field, value in changes.items()}
    return {name: {"retrain.strategy": name, **more} for name in names}


def prunings(sparsities: Iterable[float], **kinds: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A column for each kind of pruning at each sparsity.

    Args:
        sparsities: in (0, 1).
        **kinds: the fields of the phase `retrain` for each kind, by its name.

    >>> list(prunings((0.8, 0.9), magnitude={}, layerwise={"scope": "layer"}))
    ['magnitude 0.8', 'layerwise 0.8', 'magnitude 0.9', 'layerwise 0.9']
    """
    return {
        f"{name} {sparsity:g}": {
            "retrain.sparsity": sparsity,
            **{f"retrain.{field}": value for field, value in fields.items()},
        }
        for sparsity in sparsities
        for name, fields in kinds.items()
    }
