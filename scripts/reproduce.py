"""Reproduces the figures and claims of the cascade paper at a scale that fits the machine.

The same as `tfshed reproduce`, see docs/training.md.
"""

import sys

from tfshed_command import main

if __name__ == "__main__":
    main(["reproduce", *sys.argv[1:]])
