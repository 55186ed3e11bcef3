"""All names of `tensorflow_model_optimization.sparsity.keras`; those of `tfshed.tfmot`."""

from tfshed.latency import PruneForLatencyOnXNNPack
from tfshed.policies import PrunableLayer, PruningPolicy
from tfshed.prune import prune_low_magnitude
from tfshed.schedules import ConstantSparsity, PolynomialDecay, PruningSchedule
from tfshed.strip import strip_pruning
from tfshed.tfmot._real import sparsity
from tfshed.tfmot.training import UpdatePruningStep

PruningSummaries = sparsity.PruningSummaries
prune_scope = sparsity.prune_scope

__all__ = [
    "ConstantSparsity",
    "PolynomialDecay",
    "PrunableLayer",
    "PruneForLatencyOnXNNPack",
    "PruningPolicy",
    "PruningSchedule",
    "PruningSummaries",
    "UpdatePruningStep",
    "prune_low_magnitude",
    "prune_scope",
    "strip_pruning",
]
