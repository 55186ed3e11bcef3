"""Training on one device, on several devices, or on several machines, with one interface."""

from __future__ import annotations

from tfshed.distribution.errors import WorkerLostError
from tfshed.distribution.loops import evaluate, fit
from tfshed.distribution.make_strategy import Distribution
from tfshed.distribution.strategies import setup

__all__ = ["Distribution", "WorkerLostError", "evaluate", "fit", "setup"]
