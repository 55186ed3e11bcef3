"""The public name of `tfshed.core.criteria`: which weights are pruned first."""

from tfshed.core.criteria import *  # noqa: F403
from tfshed.core.criteria import __all__  # noqa: F401
