"""ResNet-20 on CIFAR-10 as Renda et al. have it: four ways of retraining at their two sparsities.

    tfshed compare --config=cifar10_resnet20_renda \
        --workdir=runs/renda --data_dir=DATA

Time: not run here; a net of 182 epochs and 24 cells of 30 or 90 epochs a seed.
Expected (mean of 3 published runs): keep-ratio 0.2097, 30 epochs: FT 90.22, WR 90.20, LRW 90.38,
re-init 88.56; 90 epochs: 90.56, 90.73, 90.94, 88.61. Keep-ratio 0.1074, 30 epochs: 86.97, 86.88,
86.90, 86.82; 90 epochs: 88.38, 88.70, 88.95, 86.43. With 30 epochs FT and LRW are the same run.
Source: Renda et al. 2020 (arXiv 2003.02389) and the runs published with it.
"""

from tfshed.experiments import published_settings, recipe
from tfshed.experiments.grids import Grid
from tfshed.experiments.grids.usual import prunings, strategies


def get_grid():
    config = recipe()
    config.model.name = "resnet20"
    published_settings.cifar10_renda(config)
    names = ("fine_tune", "rewind_weights", "rewind_rate", "reinitialize")
    rows = {
        f"{name} {epochs}": changes
        for epochs in (30, 90)
        for name, changes in strategies(names, epochs=epochs).items()
    }
    return Grid(config, rows, prunings((1 - 0.2097, 1 - 0.1074), magnitude={}))
