"""LeNet-300-100 on MNIST: six ways of retraining x three prunings x two sparsities.

    tfshed compare --config=mnist_lenet_300_100 \
        --workdir=runs/mnist_grid --data_dir=DATA

DATA has mnist.npz, Keras' own file, or the data of tensorflow-datasets. Prunings: all weights
ranked together, every layer by itself, and random; "not pruned" is the control with the same
budget. A tenth of the training images is held out to choose the best epoch.

Time: 33 minutes for one seed (a net of 20 epochs and 42 cells of 10) with JAX, on two CPU cores
that others used, too.
Expected (seed 0, see docs/retraining.md): at sparsity 0.98 by magnitude 0.944 with fine-tuning,
0.963 with rewinding, 0.975 with a scaled restart or one cycle, 0.910 with weights drawn anew.
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
