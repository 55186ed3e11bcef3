"""The experiment of scripts/quickstart: its settings, its arms, and the run of one seed."""

from __future__ import annotations

import dataclasses
import os
import time
from typing import Any

import keras
import numpy as np

import tfshed
from tfshed import datasets, models
from tfshed.experiments import analysis
from tfshed.observe import plots
from tfshed.observe.progress import Progress
from tfshed.observe.run_directory import RunDirectory

KEPT = "final.weights.h5"


@dataclasses.dataclass(frozen=True)
class Settings:
    """All settings that the results depend on, apart from the seed.

    `decay` times the kernel is added to its gradient. The decay is strong on purpose: it makes
    weights small compared with their updates, on which the amount of shedding depends.
    """

    backend: str = "tensorflow"
    depth: int = 8
    width: int = 16
    pretrain_epochs: int = 54
    epochs: int = 35
    pretrained: str | None = None
    batch: int = 96
    rate: float = 0.1
    decay: float = 1e-2
    final_sparsity: float = 0.9
    frequency: int = 5
    bn_momentum: float = 0.9
    bn_epsilon: float = 1e-5


@dataclasses.dataclass(frozen=True)
class Arm:
    """One way to prune the trained network, or a control that is not pruned."""

    name: str
    label: str  # a shorter name for the plot
    momentum: float = 0.9
    prune: bool = True
    grow_threshold: bool | None = None
    rate_factor: float = 1.0

    @property
    def folder(self) -> str:
        """The name of the folder with the arm's results."""
        return self.name.replace(" ", "-").replace(",", "")


HIGH = Arm("GMP momentum 0.9", "momentum 0.9")
LOW = Arm("GMP momentum 0", "momentum 0", momentum=0.0)
CONTROL = Arm("no pruning, momentum 0.9", "not pruned, 0.9", prune=False)
FIXED = Arm("fixed threshold, momentum 0.9", "fixed threshold, 0.9", grow_threshold=False)
MATCHED = Arm("GMP momentum 0, rate x10", "momentum 0, x10", momentum=0.0, rate_factor=10.0)


def arms(matched: bool) -> list[Arm]:
    """All arms; the one with a matched effective learning rate only if `matched`."""
    return [HIGH, LOW, CONTROL, FIXED, *([MATCHED] if matched else [])]


def network(settings: Settings, seed: int) -> Any:
    """The ResNet, not compiled."""
    return models.resnet(
        settings.depth,
        input_shape=(8, 8, 1),
        width=settings.width,
        weight_decay=settings.decay / 2,  # the factor of w**2, whose derivative is 2 w
        # An epoch has 15 steps. With Keras' momentum of 0.99, statistics would be averages over
        # seven epochs, and the accuracy would be measured with outdated ones.
        bn_momentum=settings.bn_momentum,
        bn_epsilon=settings.bn_epsilon,
        seed=seed,
    )


def compiled(net: Any, rate: Any, momentum: float) -> Any:
    """The network, compiled with SGD."""
    net.compile(
        keras.optimizers.SGD(rate, momentum=momentum),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return net


def run_seed(
    run: RunDirectory, settings: Settings, todo: list[Arm], seed: int
) -> dict[str, analysis.Outcome]:
    """Trains and prunes with one seed. Results that are in `run` already are read from there."""
    train, test = datasets.load_digits(seed=seed)
    weights, before = pretrained(run, settings, train, test, seed)
    found, histories = {}, {}
    for arm in todo:
        result = run.read_json(f"seed{seed}/{arm.folder}/result.json")
        if result is None:
            result = run_arm(run, settings, arm, weights, before, train, test, seed)
        else:
            print(f"seed {seed}, {arm.name}: using the result of the earlier run")
        found[arm.name] = analysis.Outcome(**result)
        histories[arm.label] = run.path / f"seed{seed}" / arm.folder / "keep_ratio.csv"
    plots.keep_ratio_plot(
        histories,
        run.path / f"curves_seed{seed}.png",
        metric="val_accuracy",
        steps_per_epoch=steps_per_epoch(settings, train),
        title=f"ResNet-{settings.depth} on digits, pruned to {1 - settings.final_sparsity:.0%} of "
        f"its weights, seed {seed}",
    )
    return found


def steps_per_epoch(settings: Settings, train: Any) -> int:
    """The number of batches of an epoch, rounded up."""
    return -(-len(train[0]) // settings.batch)


def pretrained(
    run: RunDirectory, settings: Settings, train: Any, test: Any, seed: int
) -> tuple[list[np.ndarray], float]:
    """Trains the network, and returns the weights that all arms start with and their accuracy."""
    folder = run.path / f"seed{seed}"
    kept = folder / "pretrained.weights.h5"
    keras.utils.set_random_seed(seed)
    # In the last fifth the rate is a tenth. With the full rate, the accuracy would change from step
    # to step.
    drop = max(1, round(settings.pretrain_epochs * 0.8)) * steps_per_epoch(settings, train)
    rate = keras.optimizers.schedules.PiecewiseConstantDecay(
        [drop], [settings.rate, settings.rate / 10]
    )
    net = compiled(network(settings, seed), rate, 0.9)
    if settings.pretrained:
        net.load_weights(settings.pretrained)
    elif kept.exists():
        net.load_weights(kept)
        print(f"seed {seed}, training: using the weights of the earlier run")
    else:
        bar = Progress(f"seed {seed}, training", ("accuracy",))
        epochs = settings.pretrain_epochs
        net.fit(*train, batch_size=settings.batch, epochs=epochs, verbose=0, callbacks=[bar])
        folder.mkdir(parents=True, exist_ok=True)
        save(net, kept)
    (_, on_train), (_, on_test) = (
        net.evaluate(*d, batch_size=512, verbose=0) for d in (train, test)
    )
    print(f"seed {seed}, trained: accuracy {on_test:.3f} (on the training images {on_train:.3f})")
    return net.get_weights(), on_test


def save(net: Any, path: Any) -> None:
    """Saves weights under another name and renames the file, so that it is never incomplete."""
    beside = path.with_name(f".{path.name}")
    net.save_weights(beside)
    os.replace(beside, path)


def run_arm(
    run: RunDirectory,
    settings: Settings,
    arm: Arm,
    weights: list[np.ndarray],
    before: float,
    train: Any,
    test: Any,
    seed: int,
) -> dict[str, Any]:
    """Runs one arm, and returns the fields of its Outcome, which are written as the last file."""
    started = time.monotonic()
    folder = run.path / f"seed{seed}" / arm.folder
    steps, epochs = steps_per_epoch(settings, train), settings.epochs
    # All arms see the batches in the same order.
    keras.utils.set_random_seed(1000 + seed)
    net = network(settings, seed)
    net.set_weights(weights)
    schedule = tfshed.ExponentialDecay(
        settings.final_sparsity,
        time_constant=epochs / 7 * steps,  # 5 epochs of 35
        end_step=epochs * steps,
        frequency=settings.frequency,
    )
    callbacks: list[Any] = []
    if arm.prune:
        net = tfshed.prune_low_magnitude(
            net, schedule, scope="global", grow_threshold=arm.grow_threshold
        )
        callbacks.append(tfshed.UpdatePruningStep())
    # The rate drops to a tenth at epochs 11 and 23 of 35.
    rates = [settings.rate * arm.rate_factor * factor for factor in (1.0, 0.1, 0.01)]
    drops = [max(i, round(epochs * share / 35)) * steps for i, share in ((1, 11), (2, 23))]
    compiled(net, keras.optimizers.schedules.PiecewiseConstantDecay(drops, rates), arm.momentum)
    keep = tfshed.KeepRatio(
        folder,
        validation_data=test,
        validation_batch_size=512,
        plot=False,
        tensorboard=False,
        schedule=None if arm.prune else schedule,
    )
    bar = Progress(f"seed {seed}, {arm.name}", ("keep_actual", "accuracy"))
    callbacks += [keep, bar]
    net.fit(*train, batch_size=settings.batch, epochs=epochs, verbose=0, callbacks=callbacks)
    plain = tfshed.strip_pruning(net)
    save(plain, folder / KEPT)
    found = analysis.outcome(
        keep.history,
        steps_per_epoch=steps,
        before=before,
        pruned=arm.prune,
        seed=seed,
        sparsity=tfshed.summary(plain, print_fn=lambda text: None).total_sparsity,
        seconds=time.monotonic() - started,
    )
    run.write_json(f"seed{seed}/{arm.folder}/result.json", dataclasses.asdict(found))
    return dataclasses.asdict(found)
