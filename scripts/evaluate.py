"""Evaluates a trained or pruned network.

The same as `tfshed evaluate`, see docs/training.md.
"""

import sys

from tfshed_command import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
