"""Recipes: every field a run has, with its default; what may stand there; and making it smaller.

A recipe is a locked `ml_collections.ConfigDict`: a field that is not there, or a value of another
type, is an error at once. A file in `configs/` starts from `recipe()` and sets what it is about.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from tfshed.core.arguments import check_int
from tfshed.core.near_miss import near_miss
from tfshed.datasets import AUGMENTATIONS

PHASES = ("train", "prune")
OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop")
RATES = ("constant", "multistep", "cyclic", "cosine")
SCHEDULES = ("linear", "exponential", "cyclic", "polynomial", "constant", "one_shot", "iterative")


def recipe() -> ConfigDict:
    """A recipe with every field at its default, locked.

    Epochs are counted in passes over the training data and may be fractions except for the number
    of epochs itself; `frequency` is in steps. Phases: `train` trains all weights, `prune` prunes
    `initial_weights` and trains on.

    * `initial_weights`: "" (fresh), "imagenet", a weights or `.keras` file, or a run directory.
    * `scale`: see `scaled`.
    * `data`: `name` (see `tfshed.datasets.load`), `image_size`, `augmentation`, `fraction` of the
      training examples, `eval_split` (None: the data's own), `eval_fraction`, `eval_batch_size`
      (None: the phase's).
    * `model`: `name` and `options` (see `tfshed.models.build`), `preprocessing`.
    * `checkpoint`: every so many epochs and, if not 0, steps; how many to `keep`.
    * each phase: `epochs`, `batch_size` (global), `optimizer`, `momentum`, `nesterov`, `clip_norm`
      (0: none), `weight_decay` d (d * w is added to the gradient of conv and dense kernels),
      `label_smoothing`, `jit_compile` ("auto", "true", "false"), `steps_per_execution`,
      `learning_rate`.
    * `learning_rate`: `schedule` with `rates` (the first alone for "constant" and "cosine"),
      `milestones` and `cycle` in epochs, `warmup_epochs`. `base_batch_size`: if not None, rates
      hold at that batch size and are scaled in proportion to `batch_size`; None: never scaled.
    * `prune` besides: `schedule`, `sparsity`, `initial_sparsity`, `time_constant`, `cycle`, `gate`,
      `gate_mode`, `begin`, `end` (None: the last epoch), `round_epochs`, `keep_per_round`, `power`,
      `snap_final`, `frequency`; `criterion`, `granularity` ("unstructured", "4x1", "filter", "2:4",
      "balanced16"), `scope`, `threshold`, `grow_threshold`, `monotone`, `select` (a regex),
      `selective_decay` (its rate; 0: none), `evaluate_updates` (validate at every update, too).

    Example:
        >>> config = recipe()
        >>> config.prune.momentum = 0.0
        >>> config.prune.momentm = 0.0
        Traceback (most recent call last):
        ...
        AttributeError: ...Did you mean "momentum" instead of "momentm"?...
    """
    config = ConfigDict()
    config.initial_weights = ""
    config.scale = 1.0
    config.data = ConfigDict(
        {
            "name": "digits",
            "image_size": placeholder(int),
            "augmentation": "none",
            "fraction": 1.0,
            "eval_split": placeholder(str),
            "eval_fraction": 1.0,
            "eval_batch_size": placeholder(int),
        }
    )
    config.model = ConfigDict(
        {"name": "resnet20", "preprocessing": placeholder(str), "options": ConfigDict()}
    )
    config.checkpoint = ConfigDict({"every_epochs": 1, "every_steps": 0, "keep": 2})
    config.train = _phase(epochs=182, rates=(0.1, 0.01, 0.001), milestones=(91.0, 136.0))
    config.prune = _phase(epochs=35, rates=(1e-2, 1e-3, 1e-4), milestones=(11.0, 23.0))
    config.prune.update(
        {
            "schedule": "exponential",
            "sparsity": 0.85,
            "initial_sparsity": 0.0,
            "time_constant": 3.0,
            "cycle": 7.0,
            "gate": 2.0,
            "gate_mode": "freeze",
            "begin": 0.0,
            "end": placeholder(float),
            "round_epochs": 1.0,
            "keep_per_round": 0.8,
            "power": 3.0,
            "snap_final": True,
            "frequency": 100,
            "criterion": "magnitude",
            "granularity": "unstructured",
            "scope": placeholder(str),
            "threshold": placeholder(float),
            "grow_threshold": placeholder(bool),
            "monotone": True,
            "select": placeholder(str),
            "selective_decay": 0.0,
            "evaluate_updates": False,
        }
    )
    config.lock()
    return config


def _phase(epochs: int, rates: tuple[float, ...], milestones: tuple[float, ...]) -> ConfigDict:
    return ConfigDict(
        {
            "epochs": epochs,
            "batch_size": 128,
            "optimizer": "sgd",
            "momentum": 0.9,
            "nesterov": False,
            "clip_norm": 0.0,
            "weight_decay": 0.0,
            "label_smoothing": 0.0,
            "jit_compile": "auto",
            "steps_per_execution": 1,
            "learning_rate": {
                "schedule": "multistep",
                "rates": rates,
                "milestones": milestones,
                "cycle": 7.0,
                "warmup_epochs": 0.0,
                "base_batch_size": placeholder(int),
            },
        }
    )


def check(config: Any) -> None:
    """Raises unless every field of `recipe()` is there, no other, and values make sense.

    What depends on data and model (sizes, names) is checked where these are made.

    Raises:
        ValueError: naming the field, what was expected and what came.

    Example:
        >>> config = recipe()
        >>> config.prune.schedule = "exponental"
        >>> check(config)
        Traceback (most recent call last):
        ...
        ValueError: config.prune.schedule: expected one of linear, exponential, ..., received
        'exponental'. Did you mean 'exponential'?
    """
    _same_fields(recipe(), config, "config")
    _between("config.scale", config.scale, 0, 1)
    _choice("config.data.augmentation", config.data.augmentation, AUGMENTATIONS)
    for name in ("fraction", "eval_fraction"):
        _between(f"config.data.{name}", config.data[name], 0, 1)
    for name in ("image_size", "eval_batch_size"):
        if config.data[name] is not None:
            check_int(f"config.data.{name}", config.data[name], 1)
    for name, least in (("every_epochs", 1), ("every_steps", 0), ("keep", 1)):
        check_int(f"config.checkpoint.{name}", config.checkpoint[name], least)
    for name in PHASES:
        _check_phase(f"config.{name}", config[name])
    prune = config.prune
    _choice("config.prune.schedule", prune.schedule, SCHEDULES)
    _choice("config.prune.gate_mode", prune.gate_mode, ("freeze", "hold", "stretch"))
    if not 0 <= prune.sparsity < 1:
        raise ValueError(
            f"config.prune.sparsity: expected a number in [0, 1), received {prune.sparsity}"
        )
    check_int("config.prune.frequency", prune.frequency, 1)


def _check_phase(path: str, phase: Any) -> None:
    check_int(f"{path}.epochs", phase.epochs, 1)
    check_int(f"{path}.batch_size", phase.batch_size, 1)
    check_int(f"{path}.steps_per_execution", phase.steps_per_execution, 1)
    _choice(f"{path}.optimizer", phase.optimizer, OPTIMIZERS)
    _choice(f"{path}.jit_compile", phase.jit_compile, ("auto", "true", "false"))
    if not 0 <= phase.label_smoothing < 1:
        raise ValueError(
            f"{path}.label_smoothing: expected a number in [0, 1), received {phase.label_smoothing}"
        )
    for name in ("momentum", "weight_decay", "clip_norm"):
        if not 0 <= phase[name] < math.inf:
            raise ValueError(f"{path}.{name}: expected a number >= 0, received {phase[name]}")
    rate = phase.learning_rate
    _choice(f"{path}.learning_rate.schedule", rate.schedule, RATES)
    stepped = rate.schedule in ("multistep", "cyclic")
    if not rate.rates or (stepped and len(rate.rates) != len(rate.milestones) + 1):
        raise ValueError(
            f"{path}.learning_rate: expected one rate more than milestones, received rates "
            f"{tuple(rate.rates)} and milestones {tuple(rate.milestones)}"
        )


def _same_fields(wanted: ConfigDict, given: Any, path: str) -> None:
    if not isinstance(given, ConfigDict):
        raise ValueError(
            f"{path}: expected a group of fields ({', '.join(wanted)}), received {given!r}"
        )
    if path == "config.model.options":
        return  # the model says which it has
    for name in given:
        if name not in wanted:
            raise ValueError(f"{path}.{name}: there is no such field.{near_miss(name, wanted)}")
    for name in wanted:
        if name not in given:
            raise ValueError(f"{path}.{name}: expected this field, and it is not there")
        if isinstance(wanted[name], ConfigDict):
            _same_fields(wanted[name], given[name], f"{path}.{name}")


def _choice(path: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(
            f"{path}: expected one of {', '.join(choices)}, received {value!r}."
            f"{near_miss(value, choices)}"
        )


def _between(path: str, value: float, low: float, high: float) -> None:
    if not low < value <= high:
        raise ValueError(f"{path}: expected a number in ({low}, {high}], received {value}")


def scaled(config: ConfigDict) -> ConfigDict:
    """The recipe with `scale` applied, and `scale` 1: a smaller run of the same shape.

    With s = scale: the number of epochs is rounded to E' = max(1, round(s E)) and all other times
    in epochs are multiplied by E' / E, so milestones and cycles stay where they were in the run;
    the fraction of the data is multiplied by s, and with it the steps of an epoch; the pruning
    frequency in steps is multiplied by s and rounded, so an epoch keeps its number of updates. The
    training examples are fewer: what comes out is a look at the run, not a small copy of its
    result.

    Example:
        >>> config = recipe()
        >>> config.scale = 0.2
        >>> small = scaled(config)
        >>> small.prune.epochs, small.prune.time_constant, small.prune.frequency
        (7, 0.6..., 20)
        >>> [round(m, 3) for m in small.prune.learning_rate.milestones], small.data.fraction
        ([2.2, 4.6], 0.2)
    """
    small = config.copy_and_resolve_references()
    if config.scale == 1:
        return small
    small.data.fraction = config.data.fraction * config.scale
    for name in PHASES:
        phase = small[name]
        epochs = max(1, round(phase.epochs * config.scale))
        ratio, phase.epochs = epochs / phase.epochs, epochs
        rate = phase.learning_rate
        rate.milestones = tuple(m * ratio for m in rate.milestones)
        rate.cycle, rate.warmup_epochs = rate.cycle * ratio, rate.warmup_epochs * ratio
        if name == "prune":
            for field in ("time_constant", "cycle", "gate", "begin", "end", "round_epochs"):
                if phase[field] is not None:
                    phase[field] *= ratio
            phase.frequency = max(1, round(phase.frequency * config.scale))
    small.scale = 1.0
    return small
