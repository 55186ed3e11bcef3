"""Learning rates of the papers, on epochs counted in steps; each a Keras schedule.

Give one to an optimizer as its `learning_rate`. Recipes find them by name, see `register`.
"""

from __future__ import annotations

from tfshed.learning_rates.cyclic_step import CyclicStep, cyclic
from tfshed.learning_rates.momentum import ScheduledMomentumSGD
from tfshed.learning_rates.multi_step import MultiStep, three_step
from tfshed.learning_rates.one_cycle import RISE, OneCycle
from tfshed.learning_rates.registry import LEARNING_RATES, RateSettings, find, needs_rates, register
from tfshed.learning_rates.rewound import Rewound
from tfshed.learning_rates.scaled_restart import ScaledRestart
from tfshed.learning_rates.warmup import Warmup

__all__ = [
    "LEARNING_RATES",
    "RISE",
    "CyclicStep",
    "MultiStep",
    "OneCycle",
    "RateSettings",
    "Rewound",
    "ScaledRestart",
    "ScheduledMomentumSGD",
    "Warmup",
    "cyclic",
    "find",
    "needs_rates",
    "register",
    "three_step",
]
