"""The public name of `tfshed.observe.plots`: pictures of runs."""

from tfshed.observe.plots import keep_ratio_plot

__all__ = ["keep_ratio_plot"]
