"""The names that saved files know tfshed's classes by, and the file in which each class is.

`import tfshed` imports nothing but these names, so that a program pays only for what it uses. A
Keras file may name any of the classes. Keras then finds a stand-in under the name, which imports
the real class and lets it read its configuration.
"""

from __future__ import annotations

import importlib
from typing import Any

import keras

PACKAGE = "tfshed"
# Files that were written with an earlier version hold these names: they never change.
FILES = {
    "Ahead": "tfshed.core.schedules.earlier",
    "Balanced": "tfshed.core.granularity.grouped",
    "Block": "tfshed.core.granularity.block",
    "ConstantSparsity": "tfshed.core.schedules.simple",
    "CyclicExponentialDecay": "tfshed.core.schedules.exponential",
    "CyclicStep": "tfshed.learning_rates.cyclic_step",
    "ExponentialDecay": "tfshed.core.schedules.exponential",
    "Filter": "tfshed.core.granularity.filter",
    "Iterative": "tfshed.core.schedules.simple",
    "LinearDecay": "tfshed.core.schedules.simple",
    "Magnitude": "tfshed.core.criteria.magnitude",
    "Movement": "tfshed.core.criteria.movement",
    "MultiStep": "tfshed.learning_rates.multi_step",
    "NxM": "tfshed.core.granularity.grouped",
    "OneCycle": "tfshed.learning_rates.one_cycle",
    "OneShot": "tfshed.core.schedules.simple",
    "PolynomialDecay": "tfshed.core.schedules.simple",
    "PruneLowMagnitude": "tfshed.attach.keras3.wrapper",
    "PrunedModel": "tfshed.attach.keras3.guard",
    "PruningConfig": "tfshed.core.config",
    "PruningOptimizer": "tfshed.attach.keras3.optimizer",
    "Random": "tfshed.core.criteria.random",
    "Rewound": "tfshed.learning_rates.rewound",
    "ScaledRestart": "tfshed.learning_rates.scaled_restart",
    "ScheduledMomentumSGD": "tfshed.learning_rates.momentum",
    "SelectiveWeightDecay": "tfshed.core.selective_decay",
    "SmoothedCrossentropy": "tfshed.experiments.smoothed_crossentropy",
    "Taylor": "tfshed.core.criteria.taylor",
    "Unstructured": "tfshed.core.granularity.unstructured",
    "Warmup": "tfshed.learning_rates.warmup",
}


def register_saved_classes() -> None:
    """Enters a stand-in for every class that is not imported yet into Keras' table of classes."""
    known = keras.saving.get_custom_objects()
    for name, file in FILES.items():
        known.setdefault(f"{PACKAGE}>{name}", _stand_in(name, file))


def _stand_in(name: str, file: str) -> type:
    """A class of which Keras asks nothing but `from_config`; the result is of the real class."""

    def from_config(cls: type, config: dict[str, Any], custom_objects: Any = None) -> Any:
        # The import enters the real class under the name, in place of the stand-in.
        importlib.import_module(file)
        real = keras.saving.get_custom_objects()[f"{PACKAGE}>{name}"]
        # The legacy .h5 format hands the classes of a user's own over in this argument.
        with keras.saving.custom_object_scope(custom_objects or {}):
            return real.from_config(config)

    return type(name, (), {"from_config": classmethod(from_config), "__module__": file})
