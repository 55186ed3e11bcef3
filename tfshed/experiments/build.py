"""From the fields of a phase to Keras and tfshed objects."""

from __future__ import annotations

import re
from typing import Any

import keras
from keras import ops

import tfshed
from tfshed import learning_rates


def learning_rate(phase: Any, steps_per_epoch: int) -> Any:
    """The learning-rate schedule of a phase, values scaled with the batch where it says so.

    Example:
        >>> from tfshed.experiments import recipe
        >>> rate = learning_rate(recipe().train, steps_per_epoch=10)
        >>> [round(float(rate(step)), 6) for step in (0, 909, 910, 1360)]
        [0.1, 0.1, 0.01, 0.001]
    """
    given = phase.learning_rate
    factor = 1.0 if given.base_batch_size is None else phase.batch_size / given.base_batch_size
    values = [factor * value for value in given.rates]
    if given.schedule == "multistep":
        return learning_rates.MultiStep(
            values, given.milestones, steps_per_epoch, given.warmup_epochs
        )
    if given.schedule == "cyclic":
        return learning_rates.CyclicStep(values, given.milestones, given.cycle, steps_per_epoch)
    warmup = round(given.warmup_epochs * steps_per_epoch)
    if given.schedule == "constant":
        return learning_rates.MultiStep(values[:1], [], steps_per_epoch, given.warmup_epochs)
    total = phase.epochs * steps_per_epoch
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else values[0],
        max(1, total - warmup),
        warmup_target=values[0] if warmup else None,
        warmup_steps=warmup,
    )


def optimizer(phase: Any, steps_per_epoch: int) -> Any:
    """The optimizer of a phase. `weight_decay` is not its business: kernels carry it as L2."""
    options: dict[str, Any] = {"learning_rate": learning_rate(phase, steps_per_epoch)}
    if phase.clip_norm:
        options["global_clipnorm"] = phase.clip_norm
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


@keras.saving.register_keras_serializable(package="tfshed")
class SmoothedCrossentropy(keras.losses.Loss):
    """Crossentropy of logits with integer labels and label smoothing.

    With a = label_smoothing and k classes, the target of the true class is 1 - a + a / k and of the
    others a / k, as `keras.losses.CategoricalCrossentropy` has it for one-hot labels. Szegedy et
    al. 2016, "Rethinking the Inception Architecture for Computer Vision", section 7.

    Example:
        >>> loss = SmoothedCrossentropy(0.1)
        >>> round(float(loss([1], [[0.0, 2.0]])), 4)
        0.2269
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        name: str = "smoothed_crossentropy",
        reduction: str = "sum_over_batch_size",
        dtype: Any = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        # [batch] or [batch, 1], as Keras hands it over.
        labels = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        log_p = ops.log_softmax(y_pred, axis=-1)
        picked = ops.take_along_axis(log_p, labels[:, None], axis=-1)[:, 0]
        a = self.label_smoothing
        return -(1.0 - a) * picked - a * ops.mean(log_p, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


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

        convolves = any("Conv" in type(layer).__name__ for layer in model._flatten_layers())
        if replicas > 1 or (convolves and not tf.config.list_physical_devices("GPU")):
            return False
    return "auto"


def schedule(prune: Any, steps_per_epoch: int) -> Any:
    """The pruning schedule of a recipe; its epochs in steps.

    Example:
        >>> from tfshed.experiments import recipe
        >>> found = schedule(recipe().prune, steps_per_epoch=10009)
        >>> round(found.keep_ratio(10009), 3), round(found.keep_ratio(3 * 10009), 3)
        (0.759, 0.463)
    """
    step = lambda epochs: round(epochs * steps_per_epoch)  # noqa: E731
    begin = step(prune.begin)
    end = step(prune.epochs if prune.end is None else prune.end)
    if prune.schedule == "one_shot":
        return tfshed.OneShot(prune.sparsity, step=begin)
    if prune.schedule == "iterative":
        rounds = max(1, step(prune.round_epochs))
        return tfshed.Iterative(prune.sparsity, rounds, begin, prune.keep_per_round)
    if prune.schedule == "constant":
        return tfshed.ConstantSparsity(prune.sparsity, begin, end, prune.frequency)
    common = {
        "final_sparsity": prune.sparsity,
        "initial_sparsity": prune.initial_sparsity,
        "begin_step": begin,
        "end_step": end,
        "frequency": prune.frequency,
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


def granularity(text: str) -> Any:
    """The granularity that a recipe names.

    Example:
        >>> granularity("unstructured"), granularity("4x1"), granularity("2:4")
        (None, Block(...4, ...1...), NxM(...2, ...4...))
        >>> granularity("4by1")
        Traceback (most recent call last):
        ...
        ValueError: config.prune.granularity: expected "unstructured", blocks such as "4x1" ...
    """
    if text == "unstructured":
        return None
    if text == "filter":
        return tfshed.Filter()
    if found := re.fullmatch(r"(\d+)x(\d+)", text):
        return tfshed.Block(int(found[1]), int(found[2]))
    if found := re.fullmatch(r"(\d+):(\d+)", text):
        return tfshed.NxM(int(found[1]), int(found[2]))
    if found := re.fullmatch(r"balanced(\d+)", text):
        return tfshed.Balanced(int(found[1]))
    raise ValueError(
        'config.prune.granularity: expected "unstructured", blocks such as "4x1" (input x output '
        'channels), "filter", "2:4" (kept of every) or "balanced16" (banks of so many), received '
        f"{text!r}"
    )


def pruned(model: Any, prune: Any, steps_per_epoch: int, seed: int) -> Any:
    """The model declared to be pruned as a recipe says."""
    decay = tfshed.SelectiveWeightDecay(prune.selective_decay) if prune.selective_decay else None
    return tfshed.prune_low_magnitude(
        model,
        schedule(prune, steps_per_epoch),
        scope=prune.scope,
        criterion=prune.criterion,
        granularity=granularity(prune.granularity),
        threshold=prune.threshold,
        grow_threshold=prune.grow_threshold,
        monotone=prune.monotone,
        select=prune.select,
        seed=seed,
        weight_decay=decay,
    )
