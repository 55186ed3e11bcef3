"""Writes a trained or pruned network in another format, and checks the file.

The same as `tfshed export`, see docs/training.md.
"""

import sys

from tfshed_command import main

if __name__ == "__main__":
    main(["export", *sys.argv[1:]])
