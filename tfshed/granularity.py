"""The public name of `tfshed.core.granularity`: what is kept or pruned as a whole."""

from tfshed.core.granularity import *  # noqa: F403
from tfshed.core.granularity import __all__  # noqa: F401
