"""The public name of `tfshed.core.schedules`: when to prune, and how far."""

from tfshed.core.schedules import (
    SCHEDULES,
    ConstantSparsity,
    CyclicExponentialDecay,
    ExponentialDecay,
    Iterative,
    LinearDecay,
    OneShot,
    PolynomialDecay,
    PruningSchedule,
    get,
    register,
)

__all__ = [
    "SCHEDULES",
    "ConstantSparsity",
    "CyclicExponentialDecay",
    "ExponentialDecay",
    "Iterative",
    "LinearDecay",
    "OneShot",
    "PolynomialDecay",
    "PruningSchedule",
    "get",
    "register",
]
