"""What one looks at while a net is pruned: keep-ratios, thresholds, counts."""

from tfshed.tracking.keep_ratio import KeepRatio
from tfshed.tracking.pruning_summaries import PruningSummaries

__all__ = ["KeepRatio", "PruningSummaries"]
