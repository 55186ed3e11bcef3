"""LeNet-300-100 on MNIST: six ways of retraining x three prunings x two sparsities.

    tfshed compare --config=mnist_lenet_300_100 \
        --workdir=runs/mnist_grid --data_dir=DATA

DATA has mnist.npz, Keras' own file, or the data of tensorflow-datasets. Prunings: all weights
ranked together, every layer by itself, and random; "not pruned" is the control with the same
budget. A tenth of the training images is held out to choose the best epoch.

Time: not run here in full; a net and 42 cells of 10 epochs for each seed.
Expected: the ways of retraining differ by less than their spread at sparsity 0.9, and
"reinitialize" loses at 0.98.
Source: Renda et al. 2020 (arXiv 2003.02389), Le & Hua 2021; the net: LeCun et al. 1998.
"""

from tfshed.experiments import recipe
from tfshed.experiments.grids import Grid
from tfshed.experiments.grids.usual import prunings, strategies


def get_grid():
    config = recipe()
    config.data.name, config.data.held_out = "mnist", 0.1
    config.data.eval_batch_size = 1000
    config.model.name, config.model.preprocessing = "lenet_300_100", "unit"
    config.train.epochs = 20
    config.train.learning_rate.rates = (0.1, 0.01, 0.001)
    config.train.learning_rate.milestones = (10.0, 15.0)
    config.retrain.epochs = 10
    columns = prunings((0.9, 0.98), magnitude={}, layerwise={"scope": "layer"})
    return Grid(config, strategies(), columns)
