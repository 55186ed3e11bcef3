"""Runs a grid of retraining strategies, prunings and seeds, and makes a table of it.

The same as `tfshed compare`, see docs/training.md.
"""

import sys

from tfshed_command import main

if __name__ == "__main__":
    main(["compare", *sys.argv[1:]])
