"""LeNet-300-100 on the digits of scikit-learn: a grid of some minutes without any data to prepare.

    tfshed compare --config=digits --workdir=runs/digits_grid

Shows: what a grid is. Fine-tuning, rewinding the rate and the lottery ticket with its control, at
two sparsities, with random pruning and no pruning beside them.

Time: some minutes on two CPU cores.
Expected: random pruning loses to magnitude at 0.98; there are 357 test images, so that a difference
of 0.01 says little.
"""

from tfshed.experiments import recipe
from tfshed.experiments.grids import Grid
from tfshed.experiments.grids.usual import prunings, strategies


def get_grid():
    config = recipe()
    config.data.name, config.data.held_out = "digits", 0.1
    config.model.name = "lenet_300_100"
    config.train.epochs, config.train.batch_size = 20, 96
    config.train.learning_rate.rates = (0.1, 0.01)
    config.train.learning_rate.milestones = (15.0,)
    config.retrain.epochs, config.retrain.batch_size = 10, 96
    rows = strategies(("fine_tune", "rewind_rate", "lottery_ticket", "random_ticket"))
    return Grid(config, rows, prunings((0.9, 0.98), magnitude={}), seeds=(0, 1))
