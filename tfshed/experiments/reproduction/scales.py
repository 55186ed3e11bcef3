"""The scales at which the paper is reproduced: data, net, cost."""

from __future__ import annotations

import dataclasses
from typing import Any

from tfshed.experiments import published_settings
from tfshed.experiments.recipe import recipe
from tfshed.experiments.reproduction.arms import dense_arms, depthwise_arms, same_decay

EPOCHS = 35


@dataclasses.dataclass(frozen=True)
class Scale:
    """One size of the experiment.

    Attributes:
        name: As on the command line.
        data: What a reader has to know about data and net, a sentence.
        steps: In an epoch.
        rate: The first of the three rates of pruning.
        tests: The number of images that accuracy is measured on.
        cost: What a run takes, in words; for scales that are only planned, the hours of a GPU.
        runs: Whether `reproduce` runs it. Default True; False: it prints the plan.
    """

    name: str
    data: str
    steps: int
    rate: float
    tests: int
    cost: str
    runs: bool = True

    @property
    def rates(self) -> tuple[float, float, float]:
        """The three rates of the phase `prune`, a tenth of the one before each."""
        return (self.rate, self.rate / 10, self.rate / 100)

    @property
    def decay(self) -> float:
        """What stands for the paper's weight decay of 1e-4."""
        return same_decay(1e-4, self.steps, self.rate)

    def arms(self, depthwise: bool = False) -> dict[str, dict[str, Any]]:
        """The arms of a net, by name."""
        return depthwise_arms() if depthwise else dense_arms(self.rates, self.decay)


SCALES = {
    scale.name: scale
    for scale in (
        Scale(
            "digits",
            "scikit-learn's digits (1,440 training images of 8x8 pixels, 357 test images), a CNN "
            "of three 3x3 convolutions (16, 32, 64 filters) with BatchNorm, 24,282 parameters",
            steps=9,
            rate=0.1,
            tests=357,
            cost="about 8 s of CPU time for each of the 34 runs of a seed",
        ),
        Scale(
            "mnist_noise",
            "5,000 training images of MNIST, 30 % of which have a wrong label that never changes, "
            "10,000 test images, the same CNN",
            steps=39,
            rate=0.01,
            tests=10000,
            cost="about half a minute of CPU time for each of the 34 runs of a seed",
        ),
        Scale(
            "cifar10",
            "CIFAR-10 and ResNet-20 with 16, 32 and 64 filters, trained as by Renda et al. 2020",
            steps=390,
            rate=0.01,
            tests=10000,
            cost="not run; about 5 minutes of a GPU for each of the 32 runs of a seed that prune, "
            "and 25 for the two nets, if an epoch takes 8 s: 3 to 4 hours a seed, in slices of 10 "
            "minutes, since every run resumes from its last checkpoint",
            runs=False,
        ),
        Scale(
            "imagenet",
            "ImageNet and ResNet50, the paper's own setting",
            steps=10009,
            rate=0.01,
            tests=50000,
            cost="not run; 35 epochs of ResNet50 are about 18 hours of one H100 or A100 (at 2,500 "
            "images a second, not measured here), so 32 arms are some 600 GPU hours for one seed",
            runs=False,
        ),
    )
}


def paper_pruning(config: Any, scale: Scale) -> None:
    """Sets the phase `prune` as in the paper: 35 epochs, keep-ratio 0.15, three rates.

    Args:
        config: A recipe, which is changed.
        scale: Says the rates.
    """
    # Curves need every epoch, and the sets of kept weights those of some epochs.
    config.checkpoint.every_epochs = 5
    config.checkpoint.keep_epochs = (0, 5, 10, 15, 20, 25, 30, EPOCHS)
    prune = config.prune
    prune.epochs, prune.momentum, prune.weight_decay = EPOCHS, 0.9, 0.0
    prune.schedule, prune.sparsity, prune.time_constant = "exponential", 0.85, 3.0
    prune.scope, prune.threshold = "global", 1e-4
    rate = prune.learning_rate
    rate.schedule, rate.rates, rate.milestones = "multistep", scale.rates, (11.0, 23.0)


def digits_recipe(separable: bool = False) -> Any:
    """The recipe of the scale "digits".

    >>> config = digits_recipe()
    >>> config.prune.epochs, config.prune.learning_rate.rates[0]
    (35, 0.1)
    """
    config = _small_cnn(separable)
    config.data.name = "digits"
    train = config.train
    train.epochs, train.batch_size, train.weight_decay = 40, 160, 1e-2
    train.learning_rate.rates, train.learning_rate.milestones = (0.1, 0.01), (32.0,)
    config.prune.batch_size, config.prune.frequency = 160, 3
    paper_pruning(config, SCALES["digits"])
    return config


def mnist_noise_recipe(separable: bool = False) -> Any:
    """The recipe of the scale "mnist_noise".

    >>> config = mnist_noise_recipe()
    >>> config.data.label_noise, config.train.learning_rate.schedule
    (0.3, 'cosine')
    """
    config = _small_cnn(separable)
    config.data.name, config.data.label_noise = "mnist", 0.3
    config.data.fraction, config.data.eval_batch_size = 1 / 12, 1000
    train = config.train
    train.epochs, train.batch_size, train.weight_decay = 20, 128, 2e-3
    rate = train.learning_rate
    rate.schedule, rate.rates, rate.milestones = "cosine", (0.1,), ()
    config.prune.batch_size, config.prune.frequency = 128, 13
    paper_pruning(config, SCALES["mnist_noise"])
    return config


def cifar10_recipe(separable: bool = False) -> Any:
    """The recipe of the scale "cifar10"; `separable` takes the small CNN with wide layers."""
    config = recipe()
    published_settings.cifar10_renda(config)
    config.model.name = "resnet20"
    if separable:
        config.model.name = "small_cnn"
        config.model.options = {"widths": (64, 128, 256, 512), "separable": True}
    config.prune.frequency = 4
    config.checkpoint.every_steps = 390
    paper_pruning(config, SCALES["cifar10"])
    config.prune.decay_on = "kernels"
    return config


def _small_cnn(separable: bool) -> Any:
    config = recipe()
    config.model.name = "small_cnn"
    config.model.options = {"separable": separable}
    return config
