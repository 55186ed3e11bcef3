"""LeNet-300-100 on MNIST, trained and then pruned to 10 % of its weights.

Shows: all steps from data to export, in a few minutes on two cores.

    tfshed train --config=mnist_lenet_300_100 --workdir=runs/mnist \
        --data_dir=DATA
    tfshed prune --config=mnist_lenet_300_100 --workdir=runs/mnist_pruned \
        --data_dir=DATA --config.initial_weights=runs/mnist

Without tensorflow-datasets, use --config.data.name=npz:mnist.npz, the file that Keras downloads.

Time: about half a minute for training and one minute for pruning, on two CPU cores.
Expected: in one run with seed 0, test accuracy was 0.983 after training, and 0.982 with 10 % of the
weights.
Source: the net of LeCun et al. 1998, as used by Han et al. 2015 (arXiv 1506.02626).
"""

from tfshed.experiments import recipe


def get_config():
    config = recipe()
    config.data.name = "mnist"
    config.data.eval_batch_size = 1000
    config.model.name, config.model.preprocessing = "lenet_300_100", "unit"
    train = config.train
    train.epochs, train.batch_size = 10, 128
    train.learning_rate.rates, train.learning_rate.milestones = (0.1, 0.01), (8.0,)
    prune = config.prune
    prune.epochs, prune.batch_size = 10, 128
    prune.schedule, prune.sparsity, prune.time_constant = "exponential", 0.9, 1.0
    prune.frequency = 5
    prune.learning_rate.rates, prune.learning_rate.milestones = (0.01, 0.001), (7.0,)
    return config
