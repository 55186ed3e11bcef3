"""ResNet-8 on CIFAR-10: six ways of retraining x three prunings x two sparsities.

    tfshed compare --config=cifar10_resnet8 --workdir=runs/cifar_grid \
        --data_dir=DATA
    ... --config=cifar10_resnet8:whole     all training images, not 8,000 of them

DATA has cifar10.npz (x_train, y_train, x_test, y_test), or the data of tensorflow-datasets. A
tenth of the training images is held out to choose the best epoch.

Time: not run here in full.
Expected: no number in this protocol is at hand; Renda et al. find rewinding the rate at least as
good as all others on ResNet-20, Le & Hua a scaled restart and one cycle as good.
Source: Renda et al. 2020 (arXiv 2003.02389), Le & Hua 2021.
"""

from tfshed.experiments import published_settings, recipe
from tfshed.experiments.grids import Grid
from tfshed.experiments.grids.usual import prunings, strategies


def get_grid(arm: str = "small"):
    if arm not in ("small", "whole"):
        raise ValueError(f"arm: expected small or whole, received {arm!r}")
    config = recipe()
    config.model.name = "resnet8"
    published_settings.cifar10_renda(config)
    # 8,000 of 45,000: what is left when a tenth is held out.
    config.data.held_out, config.data.fraction = 0.1, 8000 / 45000 if arm == "small" else 1.0
    config.train.epochs = 40
    config.train.learning_rate.milestones = (20.0, 30.0)
    config.retrain.epochs = 20
    columns = prunings((0.8, 0.95), magnitude={}, layerwise={"scope": "layer"})
    return Grid(config, strategies(), columns)
