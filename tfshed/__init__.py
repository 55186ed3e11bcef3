"""tfshed: pruning for Keras 3 that counts what the net sheds by itself."""

import importlib
from typing import Any

from tfshed.ahead import Ahead
from tfshed.callbacks import KeepZeros, UpdatePruningStep
from tfshed.criteria import Criterion, Magnitude, Random
from tfshed.granularity import Balanced, Block, Filter, NxM, Unstructured
from tfshed.latency import PruneForLatencyOnXNNPack
from tfshed.optimizer import PruningOptimizer
from tfshed.policies import PrunableLayer, PruningPolicy
from tfshed.prune import prune_low_magnitude
from tfshed.registry import PruneRegistry, collect_prunable_layers
from tfshed.regularization import SelectiveWeightDecay
from tfshed.schedules import (
    ConstantSparsity,
    CyclicExponentialDecay,
    ExponentialDecay,
    Iterative,
    LinearDecay,
    OneShot,
    PolynomialDecay,
    PruningSchedule,
)
from tfshed.sparsify import sparsify
from tfshed.strip import prune_scope, strip_pruning
from tfshed.summary import summary
from tfshed.tracking import KeepRatio, PruningSummaries
from tfshed.wrapper import PruneLowMagnitude

__version__ = "0.1.0"

__all__ = [
    "Ahead",
    "Balanced",
    "Block",
    "ConstantSparsity",
    "Criterion",
    "CyclicExponentialDecay",
    "ExponentialDecay",
    "Filter",
    "Iterative",
    "KeepRatio",
    "KeepZeros",
    "LinearDecay",
    "Magnitude",
    "NxM",
    "OneShot",
    "PolynomialDecay",
    "PrunableLayer",
    "PruneForLatencyOnXNNPack",
    "PruneLowMagnitude",
    "PruneRegistry",
    "PruningOptimizer",
    "PruningPolicy",
    "PruningSchedule",
    "PruningSummaries",
    "Random",
    "SelectiveWeightDecay",
    "Unstructured",
    "UpdatePruningStep",
    "collect_prunable_layers",
    "prune_low_magnitude",
    "prune_scope",
    "sparsify",
    "strip_pruning",
    "summary",
]

_SUBPACKAGES = (
    "datasets",
    "distribution",
    "export",
    "learning_rates",
    "models",
    "plots",
    "tfmot",
    "training",
)


def __getattr__(name: str) -> Any:
    # Imported when first used: they bring TensorFlow or matplotlib.
    if name in _SUBPACKAGES:
        return importlib.import_module(f"tfshed.{name}")
    raise AttributeError(f"module 'tfshed' has no attribute {name!r}")
