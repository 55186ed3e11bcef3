"""The public name of `tfshed.experiments.analysis`: what runs show, computed from their records."""

from tfshed.experiments.analysis import *  # noqa: F403
from tfshed.experiments.analysis import __all__ as __all__
