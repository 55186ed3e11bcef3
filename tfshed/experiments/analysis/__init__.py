"""What pruning runs show, computed from their records."""

from __future__ import annotations

from tfshed.experiments.analysis.cascade import describe
from tfshed.experiments.analysis.outcome import Outcome, outcome, outcome_table

__all__ = ["Outcome", "describe", "outcome", "outcome_table"]
