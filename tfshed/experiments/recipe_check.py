"""Which values the fields of a recipe may have."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfshed import learning_rates
from tfshed.core import granularity
from tfshed.core.arguments import check_int
from tfshed.core.criteria import CRITERIA
from tfshed.core.near_miss import near_miss
from tfshed.datasets import AUGMENTATIONS
from tfshed.experiments.controls import controlled
from tfshed.experiments.recipe import PHASES, recipe
from tfshed.experiments.retraining.strategies import STRATEGIES
from tfshed.experiments.structured.presets import PRESETS
from tfshed.experiments.structured.prune_filters import NORMS

if TYPE_CHECKING:
    from ml_collections import ConfigDict

OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop")
SCHEDULES = ("linear", "exponential", "cyclic", "polynomial", "constant", "one_shot", "iterative")
AS_STRATEGY = "as_strategy"
ACTIONS = ("stop", "rollback", "go_on")
# No run has more epochs, examples in a batch or steps between updates.
MOST_EPOCHS, MOST = 1_000_000, 2**31 - 1


def check(config: ConfigDict) -> None:
    """Raises an error unless a recipe has the fields of `recipe()`, and values that make sense.

    Values that depend on data and model (sizes, names) are checked where these are made.

    Raises:
        ValueError: A field is missing, unknown or wrong. The error names the field, what was
            expected and what was received.

    Example:
        >>> from tfshed.experiments import check, recipe
        >>> config = recipe()
        >>> config.prune.schedule = "exponental"
        >>> check(config)
        Traceback (most recent call last):
        ...
        ValueError: config.prune.schedule: expected one of linear, exponential, ..., received
        'exponental'. Did you mean 'exponential'?
    """
    _same_fields(recipe(), config, "config")
    if config.prune.control:
        # The recipe and what the control makes of it both have to make sense.
        check(controlled(config))
    _number("config.scale", config.scale, above=0, most=1)
    _choice("config.data.augmentation", config.data.augmentation, AUGMENTATIONS)
    for name in ("fraction", "eval_fraction"):
        _number(f"config.data.{name}", config.data[name], above=0, most=1)
    for name in ("held_out", "label_noise"):
        _number(f"config.data.{name}", config.data[name], least=0, below=1)
    for name in ("image_size", "eval_batch_size"):
        if config.data[name] is not None:
            check_int(f"config.data.{name}", config.data[name], 1, MOST)
    for name, least in (("every_epochs", 1), ("every_steps", 0), ("keep", 1)):
        check_int(f"config.checkpoint.{name}", config.checkpoint[name], least, MOST)
    for name in ("every_epochs", "every_updates"):
        check_int(f"config.snapshots.{name}", config.snapshots[name], 0, MOST)
    _choice("config.non_finite.action", config.non_finite.action, ACTIONS)
    check_int("config.non_finite.every_steps", config.non_finite.every_steps, 1, MOST)
    check_int("config.non_finite.retries", config.non_finite.retries, 1, MOST)
    _number("config.non_finite.rate_factor", config.non_finite.rate_factor, above=0, below=1)
    for name in PHASES:
        _check_phase(f"config.{name}", config[name])
    for i, epoch in enumerate(config.checkpoint.keep_epochs):
        check_int(f"config.checkpoint.keep_epochs[{i}]", epoch, 0, MOST_EPOCHS)
    _check_pruning("config.prune", config.prune)
    _check_retraining("config.retrain", config.retrain)


def _check_phase(path: str, phase: Any) -> None:
    check_int(f"{path}.epochs", phase.epochs, 1, MOST_EPOCHS)
    check_int(f"{path}.batch_size", phase.batch_size, 1, MOST)
    check_int(f"{path}.steps_per_execution", phase.steps_per_execution, 1, MOST)
    _choice(f"{path}.optimizer", phase.optimizer, OPTIMIZERS)
    if phase.low_momentum is not None:
        _number(f"{path}.low_momentum", phase.low_momentum, above=0, most=phase.momentum)
        _choice(f"{path}.optimizer", phase.optimizer, ("sgd",))
    _choice(f"{path}.jit_compile", phase.jit_compile, ("auto", "true", "false"))
    _choice(f"{path}.decay_on", phase.decay_on, ("kernels", "all"))
    for name in ("momentum", "label_smoothing"):
        _number(f"{path}.{name}", phase[name], least=0, below=1)
    _number(f"{path}.soft_filters", phase.soft_filters, least=0, below=1)
    for name in ("weight_decay", "clip_norm", "scale_penalty"):
        _number(f"{path}.{name}", phase[name], least=0, most=1e30)
    _check_rate(f"{path}.learning_rate", phase.learning_rate)


def _check_rate(path: str, rate: Any) -> None:
    # A strategy of retraining has a schedule of its own, which it makes from the rate of training.
    own = rate.schedule != AS_STRATEGY or not path.startswith("config.retrain.")
    if own:
        learning_rates.find(rate.schedule, f"{path}.schedule")
    base = rate.base_batch_size
    if base is not None:
        check_int(f"{path}.base_batch_size", base, 1, MOST)
    for i, value in enumerate(rate.rates):
        # Every optimizer computes in float32, which holds these numbers.
        _number(f"{path}.rates[{i}]", value, above=0, least=1e-30, most=1e30)
    _number(f"{path}.final", rate.final, least=0, most=1e30)
    _number(f"{path}.warmup_epochs", rate.warmup_epochs, least=0, most=MOST_EPOCHS)
    _number(f"{path}.cycle", rate.cycle, above=0, most=MOST_EPOCHS)
    before = 0.0
    for i, milestone in enumerate(rate.milestones):
        _number(f"{path}.milestones[{i}]", milestone, above=before, most=MOST_EPOCHS)
        before = milestone
    stepped = rate.schedule in ("multistep", "cyclic")
    missing = own and not rate.rates and learning_rates.needs_rates(rate.schedule)
    if missing or (stepped and len(rate.rates) != len(rate.milestones) + 1):
        raise ValueError(
            f"{path}: expected one rate more than milestones, received rates "
            f"{tuple(rate.rates)} and milestones {tuple(rate.milestones)}"
        )
    if rate.schedule == "cyclic" and before >= rate.cycle:
        raise ValueError(
            f"{path}.cycle: expected more epochs than the last milestone, {before}, received "
            f"{rate.cycle}"
        )
    if rate.schedule == "cosine" and rate.final > rate.rates[0]:
        raise ValueError(
            f"{path}.final: expected a rate of at most {rate.rates[0]}, the first one, received "
            f"{rate.final}"
        )


def _check_pruning(path: str, prune: Any) -> None:
    _choice(f"{path}.schedule", prune.schedule, SCHEDULES)
    CRITERIA.get(prune.criterion, f"{path}.criterion")
    granularity.get(prune.granularity, f"{path}.granularity")
    _choice(f"{path}.gate_mode", prune.gate_mode, ("freeze", "hold", "stretch"))
    _number(f"{path}.sparsity", prune.sparsity, least=0, below=1)
    _number(f"{path}.initial_sparsity", prune.initial_sparsity, least=0, most=prune.sparsity)
    for name in ("time_constant", "cycle", "round_epochs"):
        _number(f"{path}.{name}", prune[name], above=0, most=MOST_EPOCHS)
    _number(f"{path}.gate", prune.gate, above=0, most=prune.cycle)
    _number(f"{path}.power", prune.power, above=0, most=1000)
    _number(f"{path}.keep_per_round", prune.keep_per_round, above=0, below=1)
    end = prune.epochs if prune.end is None else prune.end
    _number(f"{path}.end", end, above=0, most=prune.epochs)
    _number(f"{path}.begin", prune.begin, least=0, below=end)
    check_int(f"{path}.frequency", prune.frequency, 1, MOST)
    if prune.frequency_epochs is not None:
        _number(f"{path}.frequency_epochs", prune.frequency_epochs, above=0, most=MOST_EPOCHS)
    check_int(f"{path}.shed_every", prune.shed_every, 1, MOST)
    _number(f"{path}.collapse_guard", prune.collapse_guard, least=0, below=1)
    if prune.observe and prune.selective_decay:
        raise ValueError(
            f"{path}.observe: expected False with selective_decay, which changes weights, received "
            f"True with a rate of {prune.selective_decay}"
        )
    if prune.scope is not None:
        _choice(f"{path}.scope", prune.scope, ("global", "layer"))
    if prune.threshold is not None:
        _number(f"{path}.threshold", prune.threshold, least=0, most=1e30)
    _number(f"{path}.selective_decay", prune.selective_decay, least=0, most=1e30)
    if prune.selective_decay_threshold is not None:
        _number(
            f"{path}.selective_decay_threshold", prune.selective_decay_threshold, above=0, most=1e30
        )
    if prune.select is not None:
        _regex(f"{path}.select", prune.select)
    for i, pair in enumerate(prune.sparsity_by_layer):
        where = f"{path}.sparsity_by_layer[{i}]"
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not isinstance(pair[0], str):
            raise ValueError(f"{where}: expected (regex, sparsity), received {pair!r}")
        _regex(where, pair[0])
        _number(where, pair[1], least=0, below=1)


def _check_retraining(path: str, phase: Any) -> None:
    STRATEGIES.get(phase.strategy, f"{path}.strategy")
    CRITERIA.get(phase.criterion, f"{path}.criterion")
    granularity.get(phase.granularity, f"{path}.granularity")
    _number(f"{path}.sparsity", phase.sparsity, least=0, below=1)
    _choice(f"{path}.scope", phase.scope, ("global", "layer"))
    if phase.select is not None:
        _regex(f"{path}.select", phase.select)
    check_int(f"{path}.rounds", phase.rounds, 1, MOST)
    _choice(f"{path}.filters", phase.filters, ("", *NORMS, "scale"))
    if phase.filters and phase.rounds > 1:
        raise ValueError(
            f"{path}.rounds: expected 1 with {path}.filters, since the net is another one after "
            f"the first round; received {phase.rounds}"
        )
    if phase.preset:
        PRESETS.get(phase.preset, f"{path}.preset")
        _choice(f"{path}.filters", phase.filters, NORMS)
    if phase.budget_most is not None:
        _number(f"{path}.budget_most", phase.budget_most, least=1, most=MOST_EPOCHS)


def _same_fields(wanted: Any, given: Any, path: str) -> None:
    if not isinstance(given, type(wanted)):
        raise ValueError(
            f"{path}: expected a group of fields ({', '.join(wanted)}), received {given!r}"
        )
    if path.rpartition(".")[2] == "options":
        return  # the network or the learning rate checks its own options
    for name in given:
        if name not in wanted:
            raise ValueError(f"{path}.{name}: there is no such field.{near_miss(name, wanted)}")
    for name in wanted:
        if name not in given:
            raise ValueError(f"{path}.{name}: expected this field, and it is not there")
        if isinstance(wanted[name], type(wanted)):
            _same_fields(wanted[name], given[name], f"{path}.{name}")


def _choice(path: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(
            f"{path}: expected one of {', '.join(choices)}, received {value!r}."
            f"{near_miss(value, choices)}"
        )


def _regex(path: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{path}: expected a regex, received {pattern!r}: {error}") from None


def _number(
    path: str,
    value: Any,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    below: float = math.inf,
    most: float = math.inf,
) -> None:
    """Raises ValueError unless `value` is a finite number in the interval."""
    real = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not real or not (max(above, least) <= value <= min(below, most)) or value in (above, below):
        low = f"({above:g}" if above >= least else f"[{least:g}"
        high = f"{below:g})" if below <= most else f"{most:g}]"
        raise ValueError(f"{path}: expected a number in {low}, {high}, received {value!r}")
