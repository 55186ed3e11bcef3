"""All names of `tensorflow_model_optimization.sparsity.keras`; those of `tfshed.tfmot`."""

from tfshed.attach.latency import PruneForLatencyOnXNNPack
from tfshed.attach.policies import PrunableLayer, PruningPolicy
from tfshed.attach.prune import prune_low_magnitude
from tfshed.attach.strip import strip_pruning
from tfshed.attach.tf_keras.callbacks import UpdatePruningStep
from tfshed.attach.tf_keras.real import sparsity
from tfshed.core.schedules import ConstantSparsity, PolynomialDecay, PruningSchedule

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
