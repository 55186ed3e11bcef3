"""What one looks at while a net is pruned: keep-ratios, thresholds, counts."""

from tfshed.observe.keep_ratio import KeepRatio
from tfshed.observe.pruning_summaries import PruningSummaries

__all__ = ["KeepRatio", "PruningSummaries"]
