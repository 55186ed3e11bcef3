"""Trains the network of a recipe.

The same as `tfshed train`, see docs/training.md.
"""

import sys

from tfshed_command import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
