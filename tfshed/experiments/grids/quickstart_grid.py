"""The grid of scripts/quickstart: the digits, one ResNet, four ways to prune it, with controls."""

from __future__ import annotations

from tfshed.experiments.grids.grid import Grid
from tfshed.experiments.recipe import recipe

HIGH = "GMP momentum 0.9"
LOW = "GMP momentum 0"
CONTROL = "no pruning, momentum 0.9"
FIXED = "fixed threshold, momentum 0.9"
MATCHED = "GMP momentum 0, rate x10"
# Shorter names for plots.
LABELS = {
    HIGH: "momentum 0.9",
    LOW: "momentum 0",
    CONTROL: "not pruned, 0.9",
    FIXED: "fixed threshold, 0.9",
    MATCHED: "momentum 0, x10",
}
# By the names of tfshed.experiments.controls; shadow masks show what pruning would remove.
CONTROLS = {
    HIGH: "",
    LOW: "momentum_0",
    CONTROL: "shadow",
    FIXED: "fixed_threshold",
    MATCHED: "matched_rate",
}


def quickstart_grid(
    *,
    depth: int = 8,
    width: int = 16,
    training_epochs: int = 54,
    epochs: int = 35,
    seeds: int = 1,
    matched: bool = False,
    weights: str = "",
) -> Grid:
    """Returns the grid in which one net is pruned with and without momentum, and its controls.

    A ResNet is trained on the digits of scikit-learn and then pruned to a tenth of its weights. The
    weight decay is strong on purpose: it makes weights small compared with their updates, on which
    the amount of shedding depends.

    Args:
        depth: The depth of the ResNet, as in `tfshed.models.resnet`. Default 8.
        width: The number of filters of its first stage. Default 16.
        training_epochs: The epochs of training, of 15 steps each. Default 54.
        epochs: The epochs of pruning. Default 35. Times within them scale with it.
        seeds: The number of seeds: 0, 1, ... Default 1.
        matched: Whether there is a row with momentum 0 and ten times the learning rate.
        weights: A weights file that is pruned in place of training a net first. Default "": none.

    >>> from tfshed.experiments.grids.quickstart_grid import quickstart_grid
    >>> grid = quickstart_grid(seeds=3)
    >>> [cell.folder for cell in grid.cells()][:3]
    ['GMP-momentum-0.9', 'GMP-momentum-0', 'no-pruning-momentum-0.9']

    Source: Azarian & Porikli 2021 (arXiv 2103.10629), section 4. See docs/quickstart.md.
    """
    config = recipe()
    config.data.name, config.data.eval_batch_size = "digits", 512
    config.model.name, config.model.preprocessing = f"resnet{depth}", "unit"
    # An epoch has 15 steps. With Keras' momentum of 0.99, statistics would be averages over seven
    # epochs, and the accuracy would be measured with outdated ones.
    config.model.options = {"width": width, "bn_momentum": 0.9, "bn_epsilon": 1e-5}
    config.checkpoint.every_epochs = 10
    train, prune = config.train, config.prune
    for phase in (train, prune):
        phase.batch_size, phase.weight_decay = 96, 1e-2
    train.epochs = training_epochs
    # In the last fifth the rate is a tenth. With the full rate, the accuracy would change from step
    # to step.
    train.learning_rate.rates = (0.1, 0.01)
    train.learning_rate.milestones = (float(max(1, round(training_epochs * 0.8))),)
    prune.epochs, prune.sparsity, prune.scope = epochs, 0.9, "global"
    prune.schedule, prune.time_constant, prune.frequency = "exponential", epochs / 7, 5
    prune.evaluate_updates = True
    # The rate drops to a tenth at epochs 11 and 23 of 35.
    prune.learning_rate.rates = (0.1, 0.01, 0.001)
    prune.learning_rate.milestones = tuple(
        float(max(least, round(epochs * at / 35))) for least, at in ((1, 11), (2, 23))
    )
    rows = {
        name: {"prune.control": CONTROLS[name]} for name in LABELS if matched or name != MATCHED
    }
    return Grid(
        config,
        rows,
        {"": {}},
        seeds=tuple(range(seeds)),
        phase="prune",
        controls=False,
        weights=weights,
    )
