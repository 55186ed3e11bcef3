"""Looks for a setting in which pruning adds clearly to the shedding that is there without it.

    python benchmarks/cascade_search.py --out=FOLDER [--settings=24] [--best=3] [--minutes=20]

A setting is: a share of wrong labels, learning rate, momentum, weight decay, size of the seed (the
fraction that one update prunes), width, BatchNorm or not, and the interval at which weights are
shed. For each one a small CNN is trained on scikit-learn's digits, then trained on from there
twice: with the seed pruned, and with the same rule on shadow masks (`observe=True`). The score is
the excess,

    gap of the pruned run - gap of the shadow,    gap = target keep-ratio - actual keep-ratio,

both at the end. A setting whose shadow loses more than 0.05 of its accuracy is not stable: there is
nothing to be learnt from it, and its score is -1. The settings are drawn from `FACTORS`; successive
halving drops two thirds of them after the first rung. The best ones are then confirmed with seeds
that no rung has used. A setting is called decisive if on those seeds the shadow is stable, and the
mean excess less two standard errors is at least 0.02.

Every measurement is written to FOLDER/measured.jsonl, and a search that was stopped goes on there.
It takes about 7 s of one CPU core for each setting and seed (PyTorch). It runs on any backend.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripts"))

import tfshed_command

tfshed_command.import_tensorflow()

import keras  # noqa: E402
import numpy as np  # noqa: E402

import tfshed  # noqa: E402
from tfshed import datasets  # noqa: E402
from tfshed.experiments.successive_halving import successive_halving  # noqa: E402

FACTORS = {
    "label_noise": (0.0, 0.3, 0.5),
    "rate": (0.01, 0.03, 0.1),
    "momentum": (0.0, 0.9, 0.95),
    "decay": (0.0, 1e-3, 1e-2),
    "seed_size": (0.05, 0.2, 0.4),
    "width": (8, 24),
    "batch_norm": (True, False),
    "shed_every": (1, 15),
}
RUNGS = ((0,), (1, 2))
CONFIRMING = (100, 101, 102, 103, 104)
UNSTABLE, MOST_LOST, LEAST_EXCESS = -1.0, 0.05, 0.02
PRETRAINING, EPOCHS, BATCH = 12, 5, 96


@dataclasses.dataclass(frozen=True)
class Setting:
    """One value of each of `FACTORS`."""

    label_noise: float
    rate: float
    momentum: float
    decay: float
    seed_size: float
    width: int
    batch_norm: bool
    shed_every: int


@dataclasses.dataclass(frozen=True)
class Measured:
    """What one setting showed with one seed.

    Attributes:
        gap, shadow_gap: at the end of the run with the seed pruned, and of the shadow.
        before, after, shadow_after: the test accuracies.
        seconds: for all of it.
    """

    gap: float
    shadow_gap: float
    before: float
    after: float
    shadow_after: float
    seconds: float

    @property
    def stable(self) -> bool:
        """Whether the net that is not pruned keeps its accuracy."""
        return self.shadow_after >= self.before - MOST_LOST

    @property
    def excess(self) -> float:
        """How much of the net was shed beyond what the shadow shed."""
        return self.gap - self.shadow_gap

    @property
    def score(self) -> float:
        return self.excess if self.stable else UNSTABLE


def draw(count: int, seed: int) -> list[Setting]:
    """So many different settings, drawn evenly from `FACTORS`."""
    rng = np.random.default_rng(seed)
    found: dict[Setting, None] = {}
    while len(found) < min(count, math.prod(len(v) for v in FACTORS.values())):
        chosen = {name: values[rng.integers(len(values))] for name, values in FACTORS.items()}
        found[Setting(**chosen)] = None
    return list(found)


def network(setting: Setting, seed: int) -> keras.Model:
    """Three convolutions and a dense layer."""
    keras.utils.set_random_seed(seed)
    penalty = keras.regularizers.L2(setting.decay / 2) if setting.decay else None
    x = inputs = keras.Input((8, 8, 1))
    for i, factor in enumerate((1, 2, 4)):
        x = keras.layers.Conv2D(
            factor * setting.width, 3, 2 if i else 1, padding="same", kernel_regularizer=penalty
        )(x)
        if setting.batch_norm:
            x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.ReLU()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(10, kernel_regularizer=penalty)(x))


def fit(model: keras.Model, setting: Setting, data, epochs: int, rate, callbacks=()) -> float:
    """Trains a model and returns its test accuracy."""
    (x, y), test = data
    model.compile(
        keras.optimizers.SGD(rate, momentum=setting.momentum),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(x, y, BATCH, epochs, verbose=0, callbacks=list(callbacks))
    return float(model.evaluate(*test, batch_size=357, verbose=0)[1])


def noisy(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """The labels, of which a share is replaced by another class, the same one in every epoch."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(labels.size) < share
    return np.where(wrong, (labels + rng.integers(1, 10, labels.size)) % 10, labels)


def measure(setting: Setting, seed: int) -> Measured:
    """Trains, then prunes and observes from the same weights."""
    started = time.monotonic()
    (x, y), test = datasets.load_digits(seed=seed)
    data = (x, noisy(y, setting.label_noise, seed)), test
    net = network(setting, seed)
    steps = -(-len(x) // BATCH)
    # The rate of training is no factor: all settings begin with a net that was trained alike.
    rate = keras.optimizers.schedules.CosineDecay(0.1, PRETRAINING * steps)
    before = fit(net, dataclasses.replace(setting, momentum=0.9), data, PRETRAINING, rate)
    weights, found = net.get_weights(), {}
    for observe in (False, True):
        net = network(setting, seed)
        net.set_weights(weights)
        model = tfshed.prune_low_magnitude(
            net,
            tfshed.OneShot(setting.seed_size),
            scope="global",
            shed_every=setting.shed_every,
            observe=observe,
        )
        keep = tfshed.KeepRatio()
        callbacks = [tfshed.UpdatePruningStep(), keep]
        keras.utils.set_random_seed(seed)  # the same order of batches in both
        accuracy = fit(model, setting, data, EPOCHS, setting.rate, callbacks)
        found[observe] = keep.history[-1]["gap"], accuracy
        keras.backend.clear_session(free_memory=False)
    (gap, after), (shadow_gap, shadow_after) = found[False], found[True]
    return Measured(gap, shadow_gap, before, after, shadow_after, time.monotonic() - started)


class Notebook:
    """Measurements in a file; what is in it is not measured again."""

    def __init__(self, folder: pathlib.Path, until: float):
        folder.mkdir(parents=True, exist_ok=True)
        self._path, self._until = folder / "measured.jsonl", until
        self._known: dict[tuple[Setting, int], Measured] = {}
        for line in self._path.read_text().splitlines() if self._path.is_file() else ():
            row = json.loads(line)
            self._known[Setting(**row["setting"]), row["seed"]] = Measured(**row["measured"])

    def __call__(self, setting: Setting, seed: int) -> Measured:
        if (setting, seed) not in self._known:
            if time.monotonic() > self._until:
                raise TimeoutError("the time is up: the same command goes on from here")
            found = measure(setting, seed)
            self._known[setting, seed] = found
            row = {"setting": dataclasses.asdict(setting), "seed": seed}
            with self._path.open("a") as file:
                file.write(json.dumps({**row, "measured": dataclasses.asdict(found)}) + "\n")
            print(f"{found.score:+.3f} (gap {found.gap:.3f}) seed {seed} {setting}", flush=True)
        return self._known[setting, seed]


def verdict(found: list[Measured]) -> tuple[bool, str]:
    """Whether the confirming measurements of a setting are decisive, with the reason."""
    excess = [m.excess for m in found]
    mean, error = statistics.fmean(excess), statistics.stdev(excess) / math.sqrt(len(excess))
    shadow = statistics.fmean(m.shadow_gap for m in found)
    stable = sum(m.stable for m in found)
    decisive = stable == len(found) and mean - 2 * error >= LEAST_EXCESS
    return decisive, (
        f"excess {mean:+.3f} +- {error:.3f} (standard error), gap of the shadow {shadow:.3f}, "
        f"stable in {stable} of {len(found)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--settings", type=int, default=24)
    parser.add_argument("--best", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    notebook = Notebook(given.out, time.monotonic() + 60 * given.minutes)
    settings = draw(given.settings, given.seed)
    score = lambda setting, seed: notebook(setting, seed).score  # noqa: E731
    try:
        last = successive_halving(settings, score, rungs=RUNGS, keep=1 / 3)[-1]
        best = [each.setting for each in last[: given.best]]
        confirmed = [(s, [notebook(s, seed) for seed in CONFIRMING]) for s in best]
    except TimeoutError as error:
        print(error)
        return
    lines = [
        f"{len(settings)} settings searched with seeds {RUNGS} on {keras.backend.backend()}, the "
        f"best {len(best)} confirmed with {CONFIRMING}"
    ]
    decisive = False
    for setting, found in confirmed:
        yes, text = verdict(found)
        decisive = decisive or yes
        lines += [f"{'decisive' if yes else 'not decisive'}: {text}", f"    {setting}"]
    lines += [] if decisive else ["Finding: none of the settings is decisive."]
    (given.out / "finding.txt").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
