"""tfshed: pruning for Keras 3 that counts what the net sheds by itself."""

import importlib
from typing import Any

import keras

from tfshed.attach.keras3.keep_zeros import KeepZeros
from tfshed.attach.keras3.optimizer import PruningOptimizer
from tfshed.attach.keras3.sparsify import sparsify
from tfshed.attach.keras3.update_pruning_step import UpdatePruningStep
from tfshed.attach.keras3.wrapper import PruneLowMagnitude
from tfshed.attach.latency import PruneForLatencyOnXNNPack
from tfshed.attach.notices import UnfinishedPruning
from tfshed.attach.policies import PrunableLayer, PruningPolicy
from tfshed.attach.prune import prune_low_magnitude
from tfshed.attach.prune_registry import PruneRegistry, collect_prunable_layers
from tfshed.attach.rules import Selection
from tfshed.attach.strip import prune_scope, strip_pruning
from tfshed.core.config import PruningConfig
from tfshed.core.criteria import Criterion, Magnitude, Random
from tfshed.core.granularity import Balanced, Block, Filter, Granularity, NxM, Unstructured
from tfshed.core.schedules import (
    ConstantSparsity,
    CyclicExponentialDecay,
    ExponentialDecay,
    Iterative,
    LinearDecay,
    OneShot,
    PolynomialDecay,
    PruningSchedule,
)
from tfshed.core.schedules.ahead import Ahead
from tfshed.core.selective_decay import SelectiveWeightDecay
from tfshed.observe import KeepRatio, PruningSummaries
from tfshed.observe.summary import summary

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
    "Granularity",
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
    "PruningConfig",
    "PruningOptimizer",
    "PruningPolicy",
    "PruningSchedule",
    "PruningSummaries",
    "Random",
    "Selection",
    "SelectiveWeightDecay",
    "UnfinishedPruning",
    "Unstructured",
    "UpdatePruningStep",
    "collect_prunable_layers",
    "prune_low_magnitude",
    "prune_scope",
    "sparsify",
    "strip_pruning",
    "summary",
]

# Public modules that are imported when first used, since they bring TensorFlow or matplotlib.
_MODULES = (
    "criteria",
    "datasets",
    "distribution",
    "experiments",
    "export",
    "granularity",
    "learning_rates",
    "models",
    "plots",
    "schedules",
    "tfmot",
    "training",
)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"tfshed.{name}")
    raise AttributeError(f"module 'tfshed' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, which is what a console completes after `tfshed.`, and nothing else."""
    modules = set(_MODULES)
    # tf_keras runs on TensorFlow alone: elsewhere the name is an error that says so, and tools
    # that look at every name of a module (help, inspect.getmembers) would end with it.
    if keras.backend.backend() != "tensorflow":
        modules.remove("tfmot")
    return sorted([*__all__, *modules, "__version__"])
