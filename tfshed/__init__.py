"""tfshed: pruning for Keras 3 that tracks the weights which a net sheds on its own.

Importing this package imports Keras and nothing else: each public name is looked up in its own file
when it is first used. What files may hold is known from the start, so `import tfshed` is all that
loading a pruned model needs.
"""

import importlib
from typing import TYPE_CHECKING, Any

import keras

from tfshed.core.saved_classes import register_saved_classes

if TYPE_CHECKING:
    # What type checkers and editors see of `_FILES`.
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
    from tfshed.core.schedules.earlier import EarlierSchedule
    from tfshed.core.selective_decay import SelectiveWeightDecay
    from tfshed.experiments.retraining.keep_epochs import KeepEpochs
    from tfshed.experiments.retraining.retrain_model import retrain
    from tfshed.export.report.flops import flops
    from tfshed.observe.cascade_monitor import CascadeMonitor
    from tfshed.observe.keep_ratio import KeepRatio
    from tfshed.observe.mask_snapshots import MaskSnapshots
    from tfshed.observe.pruning_summaries import PruningSummaries
    from tfshed.observe.summary import summary

__version__ = "0.1.0"

__all__ = [
    "Balanced",
    "Block",
    "CascadeMonitor",
    "ConstantSparsity",
    "Criterion",
    "CyclicExponentialDecay",
    "EarlierSchedule",
    "ExponentialDecay",
    "Filter",
    "Granularity",
    "Iterative",
    "KeepEpochs",
    "KeepRatio",
    "KeepZeros",
    "LinearDecay",
    "Magnitude",
    "MaskSnapshots",
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
    "flops",
    "prune_low_magnitude",
    "prune_scope",
    "retrain",
    "sparsify",
    "strip_pruning",
    "summary",
]

# The file in which each public name is.
_FILES = {
    "Balanced": "tfshed.core.granularity",
    "Block": "tfshed.core.granularity",
    "CascadeMonitor": "tfshed.observe.cascade_monitor",
    "ConstantSparsity": "tfshed.core.schedules",
    "Criterion": "tfshed.core.criteria",
    "CyclicExponentialDecay": "tfshed.core.schedules",
    "EarlierSchedule": "tfshed.core.schedules.earlier",
    "ExponentialDecay": "tfshed.core.schedules",
    "Filter": "tfshed.core.granularity",
    "Granularity": "tfshed.core.granularity",
    "Iterative": "tfshed.core.schedules",
    "KeepEpochs": "tfshed.experiments.retraining.keep_epochs",
    "KeepRatio": "tfshed.observe.keep_ratio",
    "KeepZeros": "tfshed.attach.keras3.keep_zeros",
    "LinearDecay": "tfshed.core.schedules",
    "Magnitude": "tfshed.core.criteria",
    "MaskSnapshots": "tfshed.observe.mask_snapshots",
    "NxM": "tfshed.core.granularity",
    "OneShot": "tfshed.core.schedules",
    "PolynomialDecay": "tfshed.core.schedules",
    "PrunableLayer": "tfshed.attach.policies",
    "PruneForLatencyOnXNNPack": "tfshed.attach.latency",
    "PruneLowMagnitude": "tfshed.attach.keras3.wrapper",
    "PruneRegistry": "tfshed.attach.prune_registry",
    "PruningConfig": "tfshed.core.config",
    "PruningOptimizer": "tfshed.attach.keras3.optimizer",
    "PruningPolicy": "tfshed.attach.policies",
    "PruningSchedule": "tfshed.core.schedules",
    "PruningSummaries": "tfshed.observe.pruning_summaries",
    "Random": "tfshed.core.criteria",
    "Selection": "tfshed.attach.rules",
    "SelectiveWeightDecay": "tfshed.core.selective_decay",
    "UnfinishedPruning": "tfshed.attach.notices",
    "Unstructured": "tfshed.core.granularity",
    "UpdatePruningStep": "tfshed.attach.keras3.update_pruning_step",
    "collect_prunable_layers": "tfshed.attach.prune_registry",
    "flops": "tfshed.export.report.flops",
    "prune_low_magnitude": "tfshed.attach.prune",
    "prune_scope": "tfshed.attach.strip",
    "retrain": "tfshed.experiments.retraining.retrain_model",
    "sparsify": "tfshed.attach.keras3.sparsify",
    "strip_pruning": "tfshed.attach.strip",
    "summary": "tfshed.observe.summary",
}

# Public modules, imported when they are first used as well.
_MODULES = (
    "analysis",
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

register_saved_classes()


def __getattr__(name: str) -> Any:
    """Imports what a public name stands for; Python calls it once for each name."""
    if name in _MODULES:
        return importlib.import_module(f"tfshed.{name}")
    if name not in _FILES:
        raise AttributeError(f"module 'tfshed' has no attribute {name!r}")
    found = getattr(importlib.import_module(_FILES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """The public names, which is what a console completes after `tfshed.`, and nothing else."""
    modules = set(_MODULES)
    # tf_keras runs on TensorFlow alone: elsewhere the name is an error that says so, and tools
    # that look at every name of a module (help, inspect.getmembers) would end with it.
    if keras.backend.backend() != "tensorflow":
        modules.remove("tfmot")
    return sorted([*__all__, *modules, "__version__"])
