"""The public name of `tfshed.core.schedules`: when to prune, and how far."""

from tfshed.core.schedules import *  # noqa: F403
from tfshed.core.schedules import __all__  # noqa: F401
