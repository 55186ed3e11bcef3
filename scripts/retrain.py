"""Prunes a trained network once and retrains it with fixed masks.

The same as `tfshed retrain`, see docs/training.md.
"""

import sys

from tfshed_command import main

if __name__ == "__main__":
    main(["retrain", *sys.argv[1:]])
