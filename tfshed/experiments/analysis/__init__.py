"""What pruning runs show, computed from their records."""

from __future__ import annotations

from tfshed.experiments.analysis.blocks import (
    count_in_blocks,
    degenerate_share,
    l0_pmf,
    relative_threshold,
)
from tfshed.experiments.analysis.cascade import describe
from tfshed.experiments.analysis.diagnosis import Diagnosis, diagnose
from tfshed.experiments.analysis.kept_sets import (
    Overlap,
    at_keep_ratio,
    chance_iou,
    consensus,
    consensus_shares,
    iou,
    overlap_over_time,
    permutation_interval,
)
from tfshed.experiments.analysis.outcome import Outcome, outcome, outcome_table
from tfshed.experiments.analysis.over_time import (
    ExponentialFit,
    exponential_fit,
    layer_profile,
    lost_at,
    lost_between,
    magnitude_shares,
    mask_drift,
    share_below,
    shed_rate,
)
from tfshed.experiments.analysis.run_record import RunRecord, read_run
from tfshed.experiments.analysis.shed_response import (
    ShedResponse,
    knock_out,
    shed_response,
    sign_test,
)

__all__ = [
    "Diagnosis",
    "ExponentialFit",
    "Outcome",
    "Overlap",
    "RunRecord",
    "ShedResponse",
    "at_keep_ratio",
    "chance_iou",
    "consensus",
    "consensus_shares",
    "count_in_blocks",
    "degenerate_share",
    "describe",
    "diagnose",
    "exponential_fit",
    "iou",
    "knock_out",
    "l0_pmf",
    "layer_profile",
    "lost_at",
    "lost_between",
    "magnitude_shares",
    "mask_drift",
    "outcome",
    "outcome_table",
    "overlap_over_time",
    "permutation_interval",
    "read_run",
    "relative_threshold",
    "share_below",
    "shed_rate",
    "shed_response",
    "sign_test",
]
