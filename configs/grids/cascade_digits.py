"""The arms of the cascade paper on scikit-learn's digits, some minutes without data to prepare.

    tfshed reproduce --figure=3 --scale=digits --workdir=runs/cascade_digits
    tfshed compare --config=cascade_digits --workdir=runs/cascade_table

The first command runs the arms of one figure, draws it and prints the claims about it; --all runs
every figure. The second runs all arms of a net and makes one table of final accuracies. The arms of
a depthwise net are behind a colon: cascade_digits.py:depthwise.

Time: see docs/reproduction.md.
Expected: not known before; what was found is in docs/reproduction.md.
Source: Azarian & Porikli 2021 (arXiv 2103.10629), section 4.
"""

from tfshed.experiments.grids import Grid
from tfshed.experiments.reproduction.scales import SCALES, digits_recipe


def get_grid(net: str = "dense"):
    if net not in ("dense", "depthwise"):
        raise ValueError(f"net: expected dense or depthwise, received {net!r}")
    depthwise = net == "depthwise"
    rows = SCALES["digits"].arms(depthwise)
    return Grid(digits_recipe(depthwise), rows, {"run": {}}, phase="prune", controls=False)
