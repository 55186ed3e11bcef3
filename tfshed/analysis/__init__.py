"""What a pruning run shows, computed from its records."""

from __future__ import annotations

from tfshed.analysis.cascade import Outcome, describe, outcome, outcome_table

__all__ = ["Outcome", "describe", "outcome", "outcome_table"]
