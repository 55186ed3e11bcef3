"""The arms of the cascade paper on CIFAR-10 and ResNet-20; planned, not run.

    tfshed reproduce --all --scale=cifar10 --workdir=runs/cascade_cifar10
    tfshed compare --config=cascade_cifar10 \
        --workdir=runs/cascade_table

The first command prints what it would run and its cost. The second runs all arms of a net and makes
one table of final accuracies. The arms of a depthwise net are behind a colon:
cascade_cifar10.py:depthwise.

Time: not run here; planned for one GPU, see docs/reproduction.md.
Expected: not known.
Source: Azarian & Porikli 2021 (arXiv 2103.10629), section 4.
"""

from tfshed.experiments.grids import Grid
from tfshed.experiments.reproduction.scales import SCALES, cifar10_recipe


def get_grid(net: str = "dense"):
    if net not in ("dense", "depthwise"):
        raise ValueError(f"net: expected dense or depthwise, received {net!r}")
    depthwise = net == "depthwise"
    rows = SCALES["cifar10"].arms(depthwise)
    return Grid(cifar10_recipe(depthwise), rows, {"run": {}}, phase="prune", controls=False)
