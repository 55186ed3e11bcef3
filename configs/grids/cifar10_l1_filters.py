"""ResNet-56-A and -B on CIFAR-10: fine-tuning against training the smaller net anew.

    tfshed compare --config=cifar10_l1_filters \
        --workdir=runs/filters --data_dir=DATA

Rows: fine-tuning, Scratch-E, Scratch-B, and the retraining of Le & Hua. Columns: filters of lowest
L1 norm and random ones, with both presets.

Time: not run here.
Expected (Liu et al. 2019, table 1): ResNet-56-A 92.96 with Scratch-E, 93.09 with Scratch-B;
ResNet-56-B 92.54 with Scratch-E, 93.05 with Scratch-B. Le & Hua 2021: random filters are as good
with a large learning rate.
Source: Liu et al. 2019 (arXiv 1810.05270), Le & Hua 2021, Li et al. 2017 (arXiv 1608.08710).
"""

from tfshed.experiments import published_settings, recipe
from tfshed.experiments.grids import Grid
from tfshed.experiments.grids.usual import strategies


def get_grid():
    config = recipe()
    config.model.name, config.model.options = "resnet56", {"shortcut": "A"}
    published_settings.cifar_filters(config)
    config.data.held_out = 0.1
    rows = strategies(("fine_tune", "scratch_e", "scratch_b", "scaled_restart", "one_cycle"))
    columns = {
        f"l1 {name}": {"retrain.filters": "l1", "retrain.preset": name}
        for name in ("resnet56_a", "resnet56_b")
    }
    return Grid(config, rows, columns)
