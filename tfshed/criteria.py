"""The public name of `tfshed.core.criteria`: which weights are pruned first."""

from tfshed.core.criteria import (
    CRITERIA,
    NEEDS,
    Context,
    Criterion,
    Magnitude,
    Movement,
    Random,
    Taylor,
    get,
    register,
)

__all__ = [
    "CRITERIA",
    "NEEDS",
    "Context",
    "Criterion",
    "Magnitude",
    "Movement",
    "Random",
    "Taylor",
    "get",
    "register",
]
