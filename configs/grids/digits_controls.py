"""ResNet-8 on the digits of scikit-learn: one pruning run with all its controls, two schedules.

    tfshed compare --config=digits_controls --workdir=runs/controls
    ... --config=digits_controls:small     2 epochs in place of 35

Shows: how much of what pruning sheds is shed without pruning too. Every row prunes with momentum
0.9; the columns beside it change one thing each (`tfshed.experiments.controls`). Look at
`keep_ratio.csv` in the folders of the runs: the column `gap` of "shadow" is what the rule counts
while no weight is pruned.

Time: not measured; 14 cells of 35 epochs of 15 steps for each seed.
Expected: not known; in a measurement on MNIST with noise in the labels most of the gap was there
in the shadow, too.
Source: section 4 of Azarian & Porikli 2021 (arXiv 2103.10629), which has no such controls.
"""

from tfshed.experiments import recipe
from tfshed.experiments.controls import CONTROLS, with_controls
from tfshed.experiments.grids import Grid


def get_grid(arm: str = "whole"):
    if arm not in ("small", "whole"):
        raise ValueError(f"arm: expected small or whole, received {arm!r}")
    config = recipe()
    config.data.name = "digits"
    config.model.name, config.model.preprocessing = "resnet8", "unit"
    config.model.options = {"bn_momentum": 0.9, "bn_epsilon": 1e-5}
    for phase in (config.train, config.prune):
        phase.batch_size, phase.weight_decay = 96, 1e-2
    config.train.epochs = 54 if arm == "whole" else 2
    config.train.learning_rate.rates = (0.1, 0.01)
    config.train.learning_rate.milestones = (43.0,) if arm == "whole" else (1.0,)
    prune = config.prune
    prune.epochs = 35 if arm == "whole" else 2
    prune.sparsity, prune.time_constant, prune.frequency = 0.9, 5.0, 5
    prune.learning_rate.rates = (0.1, 0.01, 0.001)
    prune.learning_rate.milestones = (11.0, 23.0) if arm == "whole" else (0.5, 1.0)
    rows = {name: {"prune.schedule": name} for name in ("exponential", "linear")}
    columns = with_controls({"momentum 0.9": {}}, CONTROLS)
    return Grid(config, rows, columns, seeds=(0, 1, 2), phase="prune", controls=False)
