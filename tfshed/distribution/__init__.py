"""From one machine to many: one interface to train on one device, several, or several machines."""

from __future__ import annotations

from tfshed.distribution.errors import WorkerLostError
from tfshed.distribution.loops import evaluate, fit
from tfshed.distribution.strategies import Distribution, setup

__all__ = ["Distribution", "WorkerLostError", "evaluate", "fit", "setup"]
