"""Prunes a trained network while training goes on.

The same as `tfshed prune`, see docs/training.md.
"""

import sys

from tfshed_command import main

if __name__ == "__main__":
    main(["prune", *sys.argv[1:]])
