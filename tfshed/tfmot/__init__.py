"""tfshed for tf_keras models, together with the real tensorflow_model_optimization.

Code that was written for tfmot changes one line::

    from tfshed import tfmot  # was: import tensorflow_model_optimization as tfmot

`tfmot.sparsity.keras.prune_low_magnitude` and the rest then take all of tfshed's arguments too.
Importing this module imports TensorFlow, tf_keras and tfmot, and leaves `os.environ` and `tf.keras`
as they were.
"""

from __future__ import annotations

from tfshed.attach.tf_keras import real as _real
from tfshed.attach.tf_keras.bind import bind
from tfshed.attach.tf_keras.learning_rates import LearningRate
from tfshed.attach.tf_keras.wrapper import PruneLowMagnitude
from tfshed.observe.tf_keras import KeepRatio
from tfshed.tfmot import sparsity
from tfshed.tfmot.sparsity.keras import (
    ConstantSparsity,
    PolynomialDecay,
    PrunableLayer,
    PruneForLatencyOnXNNPack,
    PruningPolicy,
    PruningSchedule,
    PruningSummaries,
    UpdatePruningStep,
    prune_low_magnitude,
    prune_scope,
    strip_pruning,
)

collect_prunable_layers = _real.pruning_wrapper.collect_prunable_layers

# What tfmot has beside pruning is tfmot's own: programs that use it as well change one import, too.
clustering = _real.tensorflow_model_optimization.clustering
experimental = _real.tensorflow_model_optimization.experimental
quantization = _real.tensorflow_model_optimization.quantization

__all__ = [
    "ConstantSparsity",
    "KeepRatio",
    "LearningRate",
    "PolynomialDecay",
    "PrunableLayer",
    "PruneForLatencyOnXNNPack",
    "PruneLowMagnitude",
    "PruningPolicy",
    "PruningSchedule",
    "PruningSummaries",
    "UpdatePruningStep",
    "bind",
    "clustering",
    "collect_prunable_layers",
    "experimental",
    "prune_low_magnitude",
    "prune_scope",
    "quantization",
    "sparsity",
    "strip_pruning",
]

# tfmot takes our schedules, policies and layers for its own.
_real.sparsity.PruningSchedule.register(PruningSchedule)
_real.sparsity.PruningPolicy.register(PruningPolicy)
_real.sparsity.PrunableLayer.register(PrunableLayer)
