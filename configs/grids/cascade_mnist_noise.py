"""The arms of the cascade paper on MNIST, 30 % of whose labels are wrong.

    tfshed reproduce --figure=3 --scale=mnist_noise --workdir=runs/cascade_mnist_noise \
        --data_dir=DATA
    tfshed compare --config=cascade_mnist_noise \
        --workdir=runs/cascade_table --data_dir=DATA

DATA has mnist.npz, Keras' own file, or the data of tensorflow-datasets. The first command runs the
arms of one figure, draws it and prints the claims about it; --all runs every figure. The second
runs all arms of a net and makes one table of final accuracies. The arms of a depthwise net are
behind a colon: cascade_mnist_noise.py:depthwise.

Time: see docs/reproduction.md.
Expected: not known before; what was found is in docs/reproduction.md.
Source: Azarian & Porikli 2021 (arXiv 2103.10629), section 4.
"""

from tfshed.experiments.grids import Grid
from tfshed.experiments.reproduction.scales import SCALES, mnist_noise_recipe


def get_grid(net: str = "dense"):
    if net not in ("dense", "depthwise"):
        raise ValueError(f"net: expected dense or depthwise, received {net!r}")
    depthwise = net == "depthwise"
    rows = SCALES["mnist_noise"].arms(depthwise)
    return Grid(mnist_noise_recipe(depthwise), rows, {"run": {}}, phase="prune", controls=False)
