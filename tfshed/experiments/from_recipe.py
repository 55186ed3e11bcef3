"""From the fields of a phase to Keras and tfshed objects."""

from __future__ import annotations

import re
from typing import Any

import keras

import tfshed
from tfshed import learning_rates
from tfshed.attach.keras3.private import layers_in
from tfshed.attach.kernels import candidates
from tfshed.core import granularity
from tfshed.experiments.smoothed_crossentropy import SmoothedCrossentropy

# Steps are int32 on every backend.
MOST_STEPS = 2**31 - 1


def learning_rate(
    phase: Any, steps_per_epoch: int, factor: float = 1.0, training: Any = None
) -> Any:
    """The learning-rate schedule of a phase, scaled with the batch size if the phase says so.

    Args:
        phase: A phase of a recipe.
        steps_per_epoch: The number of optimizer steps in an epoch.
        factor: All rates are multiplied by it, as after a rollback; 1 by default.
        training: The phase whose rates retraining uses. None (default) is for the phase `train`.

    Raises:
        ValueError: A value is wrong. The error names the field, what was expected and what was
            received.

    Example:
        >>> from tfshed.experiments import recipe
        >>> rate = learning_rate(recipe().train, steps_per_epoch=10)
        >>> [round(float(rate(step)), 6) for step in (0, 909, 910, 1360)]
        [0.1, 0.1, 0.01, 0.001]
    """
    given = phase.learning_rate
    own = factor
    if given.base_batch_size is not None:
        own *= phase.batch_size / given.base_batch_size
    for epochs in (phase.epochs, given.cycle, given.warmup_epochs, *given.milestones):
        in_steps(epochs, steps_per_epoch)
    rate = learning_rates.find(given.schedule, "config.learning_rate.schedule")(
        learning_rates.RateSettings(
            values=tuple(own * value for value in given.rates),
            milestones=tuple(given.milestones),
            cycle=given.cycle,
            final=own * given.final,
            epochs=phase.epochs,
            steps_per_epoch=steps_per_epoch,
            options=given.options.to_dict(),
            base=None if training is None else learning_rate(training, steps_per_epoch, factor),
            base_epochs=0 if training is None else training.epochs,
        )
    )
    warmup = in_steps(given.warmup_epochs, steps_per_epoch)
    return learning_rates.Warmup(rate, warmup) if warmup else rate


def in_steps(epochs: float, steps_per_epoch: int) -> int:
    """A time in epochs as a number of steps.

    Raises:
        ValueError: more steps than int32, which counts them on every backend, can hold.
    """
    steps = round(epochs * steps_per_epoch)
    if steps > MOST_STEPS:
        raise ValueError(
            f"expected a time of at most {MOST_STEPS:,} steps, received {epochs:g} epochs of "
            f"{steps_per_epoch:,} steps"
        )
    return steps


def optimizer(
    phase: Any, steps_per_epoch: int, rate_factor: float = 1.0, training: Any = None
) -> Any:
    """The optimizer of a phase. The kernels themselves carry `weight_decay` as an L2 penalty.

    Args:
        phase, steps_per_epoch, rate_factor, training: as in `learning_rate`.
    """
    rate = learning_rate(phase, steps_per_epoch, rate_factor, training)
    options: dict[str, Any] = {"learning_rate": rate}
    if phase.clip_norm:
        options["global_clipnorm"] = phase.clip_norm
    if phase.low_momentum is not None:
        steps = in_steps(phase.epochs, steps_per_epoch)
        rise = phase.learning_rate.options.get("rise", learning_rates.RISE)
        cycle = (phase.momentum, phase.low_momentum, phase.momentum)
        momentum = learning_rates.OneCycle(*cycle, steps=steps, rise=rise)
        options |= {"momentum_schedule": momentum, "nesterov": phase.nesterov}
        return learning_rates.ScheduledMomentumSGD(**options)
    if phase.optimizer == "sgd":
        options |= {"momentum": phase.momentum, "nesterov": phase.nesterov}
    elif phase.optimizer == "rmsprop":
        options["momentum"] = phase.momentum
    else:
        options["beta_1"] = phase.momentum
    kinds = {
        "sgd": keras.optimizers.SGD,
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "rmsprop": keras.optimizers.RMSprop,
    }
    return kinds[phase.optimizer](**options)


def loss(phase: Any) -> Any:
    """Crossentropy of logits with integer labels."""
    if phase.label_smoothing:
        return SmoothedCrossentropy(phase.label_smoothing)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def metrics(classes: int) -> list[Any]:
    """Top-1 as "accuracy", and "top5" where there are more than ten classes."""
    found: list[Any] = [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
    if classes > 10:
        found.append(keras.metrics.SparseTopKCategoricalAccuracy(5, name="top5"))
    return found


def jit_compile(phase: Any, model: Any, replicas: int) -> Any:
    """What `compile` is given as `jit_compile`.

    "auto" is Keras' own choice, except where TensorFlow does better without XLA on CPUs: its own
    convolutions are faster there, and a replicated step cannot be compiled at all.
    """
    if phase.jit_compile != "auto":
        return phase.jit_compile == "true"
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        convolves = any("Conv" in type(layer).__name__ for layer in layers_in(model))
        if replicas > 1 or (convolves and not tf.config.list_physical_devices("GPU")):
            return False
    return "auto"


def schedule(prune: Any, steps_per_epoch: int, sparsity: float | None = None) -> Any:
    """The pruning schedule of a recipe; its epochs in steps.

    Args:
        prune: The phase.
        steps_per_epoch: The number of optimizer steps in an epoch.
        sparsity: The final sparsity. None (default) means that of the recipe.

    Example:
        >>> from tfshed.experiments import recipe
        >>> found = schedule(recipe().prune, steps_per_epoch=10009)
        >>> round(found.keep_ratio(10009), 3), round(found.keep_ratio(3 * 10009), 3)
        (0.759, 0.463)
    """
    final = prune.sparsity if sparsity is None else sparsity
    begin = in_steps(prune.begin, steps_per_epoch)
    end = in_steps(prune.epochs if prune.end is None else prune.end, steps_per_epoch)
    frequency = prune.frequency
    if prune.frequency_epochs is not None:
        frequency = max(1, in_steps(prune.frequency_epochs, steps_per_epoch))
    if prune.schedule == "one_shot":
        return tfshed.OneShot(final, step=begin)
    if prune.schedule == "iterative":
        rounds = max(1, in_steps(prune.round_epochs, steps_per_epoch))
        return tfshed.Iterative(final, rounds, begin, prune.keep_per_round)
    if prune.schedule == "constant":
        return tfshed.ConstantSparsity(final, begin, end, frequency)
    common = {
        "final_sparsity": final,
        "initial_sparsity": min(prune.initial_sparsity, final),
        "begin_step": begin,
        "end_step": end,
        "frequency": frequency,
    }
    if prune.schedule == "linear":
        return tfshed.LinearDecay(**common)
    if prune.schedule == "polynomial":
        return tfshed.PolynomialDecay(power=prune.power, **common)
    common |= {
        "time_constant": prune.time_constant * steps_per_epoch,
        "snap_final": prune.snap_final,
    }
    if prune.schedule == "exponential":
        return tfshed.ExponentialDecay(**common)
    return tfshed.CyclicExponentialDecay(
        steps_per_epoch=steps_per_epoch,
        cycle_epochs=prune.cycle,
        gate_epochs=prune.gate,
        mode=prune.gate_mode,
        **common,
    )


def pruned(model: Any, prune: Any, steps_per_epoch: int, seed: int) -> Any:
    """The model declared to be pruned as a recipe says.

    Kernels that `sparsity_by_layer` names are declared first, one declaration for each of its
    rules: the scope "global" then means all kernels of one rule. The first rule that matches a
    kernel counts. The others are declared together with `sparsity`.
    """
    taken: list[str] = []
    for pattern, sparsity in prune.sparsity_by_layer:
        if sparsity:
            rules = [*((p, False) for p in taken), (pattern, True), (".*", False)]
            model = _declared(model, prune, sparsity, steps_per_epoch, seed, rules)
        taken.append(pattern)
    if not taken:
        return _declared(model, prune, prune.sparsity, steps_per_epoch, seed, prune.select)
    paths = [candidate.kernel.path for candidate in candidates(model)]
    if all(any(re.search(pattern, path) for pattern in taken) for path in paths):
        return model
    rules = [(p, False) for p in taken]
    if prune.select is not None:
        rules += [(prune.select, True), (".*", False)]
    return _declared(model, prune, prune.sparsity, steps_per_epoch, seed, rules)


def _declared(
    model: Any, prune: Any, sparsity: float, steps_per_epoch: int, seed: int, select: Any
) -> Any:
    decay = None
    if prune.selective_decay:
        decay = tfshed.SelectiveWeightDecay(
            prune.selective_decay, threshold=prune.selective_decay_threshold
        )
    return tfshed.prune_low_magnitude(
        model,
        schedule(prune, steps_per_epoch, sparsity),
        scope=prune.scope,
        criterion=prune.criterion,
        granularity=granularity.get(prune.granularity, "config.prune.granularity"),
        threshold=prune.threshold,
        grow_threshold=prune.grow_threshold,
        shed_every=prune.shed_every,
        monotone=prune.monotone,
        select=select,
        seed=seed,
        weight_decay=decay,
        collapse_guard=prune.collapse_guard,
        observe=prune.observe,
    )
