"""Pruning schedules: when to prune, and how sparse the net is to be at that step.

A schedule is called as tfmot's are, `should_prune, sparsity = schedule(step)`, and has
`keep_ratio(step)`, which is 1 - sparsity. Three conventions hold for all of them:

* `step` counts the optimizer updates done, the current one included; 0 is before training.
* An update is due at `begin_step + k * frequency` up to `end_step`, and at `end_step` itself, so
  that the last one lands on the final sparsity whatever the frequency. Before `begin_step` nothing
  is due and the sparsity is the initial one; after `end_step` nothing is due and it stays.
* `step` may be a Python or NumPy number (gives a Python bool and float), a NumPy array, or a
  TensorFlow, JAX or PyTorch tensor, also while a step is compiled (gives bool and float32 tensors
  of the same shape), whichever backend Keras runs on.
"""

from __future__ import annotations

import abc
import inspect
import math
import numbers
import sys
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import keras
import numpy as np

__all__ = [
    "ConstantSparsity",
    "CyclicExponentialDecay",
    "ExponentialDecay",
    "Iterative",
    "LinearDecay",
    "OneShot",
    "PolynomialDecay",
    "PruningSchedule",
]


class _Ops(NamedTuple):
    """The few operations a schedule needs, in the framework of the step it was given."""

    where: Callable[[Any, Any, Any], Any]
    clip: Callable[[Any, int, int], Any]
    exp: Callable[[Any], Any]
    real: Callable[[Any], Any]


def _open(step: Any) -> tuple[_Ops, Any]:
    """Returns the operations for `step`, and `step` as a signed integer or a wide float."""
    if isinstance(step, keras.Variable):
        step = step.value
    # Whoever holds a tensor has imported its framework, so none is ever imported here.
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(step, torch.Tensor):
        wide = torch.float32 if step.is_floating_point() else torch.int64
        step = step.to(torch.promote_types(step.dtype, wide))
        return _Ops(torch.where, torch.clamp, torch.exp, lambda x: x.to(torch.float32)), step
    jax = sys.modules.get("jax")
    if jax is not None and isinstance(step, jax.Array):
        jnp = jax.numpy
        # `int` is int64 only where the user turned x64 on.
        real = jnp.issubdtype(step.dtype, jnp.floating)
        step = step.astype(jnp.promote_types(step.dtype, jnp.float32) if real else int)
        return _Ops(jnp.where, jnp.clip, jnp.exp, lambda x: x.astype(jnp.float32)), step
    tf = sys.modules.get("tensorflow")
    if tf is not None and tf.is_tensor(step):
        if step.dtype != tf.float64:
            step = tf.cast(step, tf.float32 if step.dtype.is_floating else tf.int64)
        return _Ops(tf.where, tf.clip_by_value, tf.exp, lambda x: tf.cast(x, tf.float32)), step
    array = np.asarray(step)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"expected step to be a number or a tensor, received {step!r}")
    array = array.astype(np.float64 if array.dtype.kind == "f" else np.int64)
    return _Ops(np.where, np.clip, np.exp, np.float64), array


def _close(result: Any) -> Any:
    """Turns a NumPy scalar into a Python one, leaves the rest alone."""
    scalar = isinstance(result, (np.generic, np.ndarray)) and result.ndim == 0
    return result.item() if scalar else result


def _number(name: str, value: Any, positive: bool = False) -> float:
    wrong = isinstance(value, bool) or not isinstance(value, numbers.Real)
    if wrong or not math.isfinite(value) or (positive and value <= 0):
        kind = "a positive number" if positive else "a finite number"
        raise ValueError(f"expected {name} to be {kind}, received {value!r}")
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def _whole(name: str, value: Any, least: int) -> int:
    # Integral floats are taken because `np.ceil(n / batch) * epochs` is how tfmot's users count.
    number = _number(name, value)
    if number != int(number) or number < least:
        raise ValueError(f"expected {name} to be an integer >= {least}, received {value!r}")
    return int(number)


def _frequency(value: Any, steps_per_epoch: Any) -> int:
    number = _number("frequency", value)
    if isinstance(number, int) or number > 1:
        return _whole("frequency", number, 1)
    if number <= 0:
        raise ValueError(
            "expected frequency to be an integer >= 1 (steps) or a float in (0, 1] (fraction of an "
            f"epoch), received {value!r}"
        )
    if steps_per_epoch is None:
        raise ValueError(
            "expected steps_per_epoch with a frequency that is a fraction of an epoch, received "
            f"frequency={value!r} and steps_per_epoch=None"
        )
    return max(1, round(number * _whole("steps_per_epoch", steps_per_epoch, 1)))


def _unwrap(config: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Splits tfmot's {"class_name": .., "config": ..}; Keras nests one such form in another."""
    name = None
    while isinstance(config.get("config"), dict) and "class_name" in config:
        name, config = config["class_name"].split(">")[-1], config["config"]
    return name, config


class PruningSchedule(abc.ABC):
    """Says when to prune and how much; the base of all schedules, tfshed's and the user's own.

    A subclass needs `__call__(step)`, which returns `(should_prune, sparsity)`, and `get_config()`,
    which returns the constructor's arguments (tfmot's `{"class_name": .., "config": ..}` form is
    understood too). `_should_prune_in_step`, `_validate_step` and `_validate_sparsity` take what
    tfmot's take, so a subclass written for tfmot runs once its import is changed. Register it with
    `keras.saving.register_keras_serializable` if it is to be saved.

    Attributes:
        default_scope: Over what the sparsity is counted unless the user says otherwise: "global"
            is all pruned layers together. PolynomialDecay and ConstantSparsity, names that
            come from tfmot, have "layer", tfmot's meaning: each layer by itself.

    >>> class Half(PruningSchedule):
    ...     def __call__(self, step):
    ...         return self._should_prune_in_step(step, 10, 25, 10), 0.5
    ...
    ...     def get_config(self):
    ...         return {}
    >>> [step for step in range(50) if Half()(step)[0]], Half().keep_ratio(10)
    ([10, 20, 25], 0.5)
    """

    default_scope: ClassVar[str] = "global"

    @abc.abstractmethod
    def __call__(self, step: Any) -> tuple[Any, Any]:
        """Returns `(should_prune, sparsity)` at `step`: a bool, and a float in [0, 1)."""

    @abc.abstractmethod
    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, all of them JSON values."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PruningSchedule:
        """Builds a schedule from `get_config()`'s result or from tfmot's nested form.

        Called on the base class, the nested form's "class_name" picks the schedule. Raises
        ValueError if it names none, or another than the class this is called on.

        >>> PruningSchedule.from_config(
        ...     {"class_name": "OneShot", "config": {"final_sparsity": 0.5, "step": 10}}
        ... )
        OneShot(final_sparsity=0.5, step=10)
        """
        name, arguments = _unwrap(config)
        if name is None or name == cls.__name__:
            return cls(**arguments)
        kind = keras.saving.get_registered_object(f"tfshed>{name}")
        if cls is not PruningSchedule or kind is None:
            wanted = "a schedule of tfshed" if cls is PruningSchedule else repr(cls.__name__)
            raise ValueError(f"expected class_name to be {wanted}, received {name!r}")
        return kind(**arguments)

    def keep_ratio(self, step: Any) -> Any:
        """Returns the target keep-ratio at `step`, 1 - sparsity."""
        return 1.0 - self(step)[1]

    def _should_prune_in_step(
        self, step: Any, begin_step: int, end_step: int, frequency: int
    ) -> Any:
        """Says if an update is due at `step`: every `frequency` steps from `begin_step` on, and at
        `end_step`; an `end_step` of -1 is for ever."""
        _, step = _open(step)
        due = (step >= begin_step) & ((step - begin_step) % frequency == 0)
        if end_step >= 0:
            due = due & (step <= end_step) | (step == end_step)
        return _close(due)

    def _validate_step(
        self, begin_step: Any, end_step: Any, frequency: Any, allow_negative_1: bool
    ) -> None:
        """Raises ValueError unless 0 <= begin_step <= end_step and frequency >= 1, all whole.

        `allow_negative_1` is whether `end_step` may be -1, for ever.
        """
        begin_step = _whole("begin_step", begin_step, 0)
        if end_step != -1 or not allow_negative_1:
            end_step = _whole("end_step", end_step, 0)
            if end_step < begin_step:
                raise ValueError(
                    f"expected end_step >= begin_step={begin_step}, received {end_step}"
                )
        _whole("frequency", frequency, 1)

    def _validate_sparsity(self, sparsity: Any, variable_name: str) -> None:
        """Raises ValueError unless `sparsity` is a number in [0, 1)."""
        if not 0 <= _number(variable_name, sparsity) < 1:
            raise ValueError(f"expected {variable_name} to be in [0, 1), received {sparsity!r}")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return _unwrap(self.get_config()) == _unwrap(other.get_config())

    def __hash__(self) -> int:
        # A user's config may hold lists, which have no hash; equality tells the rest apart.
        return hash(type(self))

    def __repr__(self) -> str:
        arguments = _unwrap(self.get_config())[1]
        inside = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        return f"{type(self).__name__}({inside})"


class _Ramp(PruningSchedule):
    """A schedule that goes from `initial_sparsity` to `final_sparsity` between two steps."""

    snap_final: bool = True
    _endless: ClassVar[bool] = False
    _least_span: ClassVar[int] = 0

    def _set(
        self, initial: Any, final: Any, begin: Any, end: Any, frequency: Any, steps_per_epoch: Any
    ) -> None:
        self._validate_sparsity(initial, "initial_sparsity")
        self._validate_sparsity(final, "final_sparsity")
        if initial > final:
            raise ValueError(
                f"expected initial_sparsity <= final_sparsity={final!r}, as what is pruned stays "
                f"pruned, received {initial!r}"
            )
        self.initial_sparsity, self.final_sparsity = float(initial), float(final)
        self.frequency = _frequency(frequency, steps_per_epoch)
        self._validate_step(begin, end, self.frequency, self._endless)
        self.begin_step, self.end_step = int(begin), int(end)
        if self._span < self._least_span:
            raise ValueError(f"expected end_step > begin_step={begin!r}, received {end!r}")

    @property
    def _span(self) -> int:
        # No run is that long, and int32, all that JAX has by default, still holds it.
        return 2**31 - 1 if self.end_step == -1 else self.end_step - self.begin_step

    def __call__(self, step: Any) -> tuple[Any, Any]:
        ops, step = _open(step)
        # Whole steps are subtracted first: float32 cannot tell step 2**24 from the next one.
        elapsed = step - self.begin_step
        # Clipped also because the formulas overflow outside of their range.
        sparsity = self._sparsity(ops, ops.clip(elapsed, 0, self._span))
        if self.snap_final:
            sparsity = ops.where(elapsed >= self._span, self.final_sparsity, sparsity)
        sparsity = ops.where(elapsed < 0, self.initial_sparsity, sparsity)
        return _close(self._due(elapsed)), _close(ops.real(sparsity))

    def _due(self, elapsed: Any) -> Any:
        return self._should_prune_in_step(elapsed, 0, self._span, self.frequency)

    def _sparsity(self, ops: _Ops, elapsed: Any) -> Any:
        """Returns the sparsity, as `ops.real`, `elapsed` steps after `begin_step`."""
        return self._left(0.0 * ops.real(elapsed))

    def _left(self, fraction: Any) -> Any:
        """Returns the sparsity at which `fraction` of the way is still to go."""
        return self.final_sparsity + (self.initial_sparsity - self.final_sparsity) * fraction

    def _linear(self, ops: _Ops, elapsed: Any) -> Any:
        """Returns what is left of the way if it is gone at constant speed, exactly 1 to 0."""
        return ops.real(self._span - elapsed) / max(self._span, 1)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments; a frequency given in epochs is in steps here."""
        names = list(inspect.signature(type(self)).parameters)
        # Of no use once the frequency is in steps; kept only where the formula needs it.
        if not hasattr(self, "steps_per_epoch"):
            names = [name for name in names if name != "steps_per_epoch"]
        return {name: getattr(self, name) for name in names}


_register = keras.saving.register_keras_serializable(package="tfshed")


@_register
class ConstantSparsity(_Ramp):
    """The same sparsity from `begin_step` on: s = target_sparsity. tfmot's class.

    Args:
        target_sparsity: Sparsity in [0, 1); also kept as `final_sparsity`.
        begin_step: First update, in steps. Before it the sparsity is 0.
        end_step: Last update, in steps; -1 is for ever.
        frequency: Steps between updates, or a float in (0, 1], a fraction of `steps_per_epoch`.

    Raises:
        ValueError: If an argument is out of its range.

    >>> schedule = ConstantSparsity(0.5, begin_step=100, frequency=10)
    >>> schedule(99), schedule(100), schedule(101)
    ((False, 0.0), (True, 0.5), (False, 0.5))
    """

    default_scope = "layer"
    _endless = True

    def __init__(
        self,
        target_sparsity: float,
        begin_step: int,
        end_step: int = -1,
        frequency: float = 100,
        *,
        steps_per_epoch: int | None = None,
    ) -> None:
        self._validate_sparsity(target_sparsity, "target_sparsity")
        self._set(0.0, target_sparsity, begin_step, end_step, frequency, steps_per_epoch)

    @property
    def target_sparsity(self) -> float:
        """The sparsity, under tfmot's name."""
        return self.final_sparsity


@_register
class PolynomialDecay(_Ramp):
    """Polynomial rise of the sparsity, cubic by default. tfmot's class, Zhu & Gupta 2017, eq. 1.

    s = s_f + (s_i - s_f) (1 - (step - begin_step) / (end_step - begin_step)) ** power

    Other than in tfmot the update at `end_step` always happens, the one at step 0 too, and
    begin_step == end_step gives the final sparsity at that step.

    Args:
        initial_sparsity: s_i in [0, 1), the sparsity up to `begin_step`.
        final_sparsity: s_f in [0, 1), at least s_i, the sparsity from `end_step` on.
        begin_step: First update, in steps.
        end_step: Last update, in steps, >= begin_step.
        power: Exponent, > 0.
        frequency: Steps between updates, or a float in (0, 1], a fraction of `steps_per_epoch`.

    Raises:
        ValueError: If an argument is out of its range.

    >>> schedule = PolynomialDecay(0.0, 0.8, begin_step=0, end_step=250, frequency=100)
    >>> [(step, round(schedule(step)[1], 4)) for step in range(300) if schedule(step)[0]]
    [(0, 0.0), (100, 0.6272), (200, 0.7936), (250, 0.8)]
    """

    default_scope = "layer"

    def __init__(
        self,
        initial_sparsity: float,
        final_sparsity: float,
        begin_step: int,
        end_step: int,
        power: float = 3,
        frequency: float = 100,
        *,
        steps_per_epoch: int | None = None,
    ) -> None:
        self._set(
            initial_sparsity, final_sparsity, begin_step, end_step, frequency, steps_per_epoch
        )
        self.power = _number("power", power, positive=True)

    def _sparsity(self, ops: _Ops, elapsed: Any) -> Any:
        return self._left(self._linear(ops, elapsed) ** self.power)


@_register
class LinearDecay(_Ramp):
    """Linear fall of the keep-ratio. Azarian & Porikli 2021 (arXiv 2103.10629), eq. 3.

    r = 1 - (1 - R_f) t / T, with R_f = 1 - final_sparsity, t = step - begin_step and
    T = end_step - begin_step; it starts from 1 - initial_sparsity if that is given.

    Args:
        final_sparsity: 1 - R_f, in [0, 1).
        end_step: Last update, in steps, >= begin_step.
        begin_step: First update, in steps.
        initial_sparsity: Sparsity up to `begin_step`, in [0, final_sparsity].
        frequency: Steps between updates, or a float in (0, 1], a fraction of `steps_per_epoch`.

    Raises:
        ValueError: If an argument is out of its range.

    >>> schedule = LinearDecay(final_sparsity=0.85, end_step=35 * 100)
    >>> [round(schedule.keep_ratio(100 * epoch), 3) for epoch in (0, 5, 20, 35)]
    [1.0, 0.879, 0.514, 0.15]
    """

    def __init__(
        self,
        final_sparsity: float,
        end_step: int,
        begin_step: int = 0,
        initial_sparsity: float = 0.0,
        frequency: float = 100,
        *,
        steps_per_epoch: int | None = None,
    ) -> None:
        self._set(
            initial_sparsity, final_sparsity, begin_step, end_step, frequency, steps_per_epoch
        )

    def _sparsity(self, ops: _Ops, elapsed: Any) -> Any:
        return self._left(self._linear(ops, elapsed))


@_register
class ExponentialDecay(_Ramp):
    """Exponential fall of the keep-ratio. Azarian & Porikli 2021 (arXiv 2103.10629), eq. 4.

    r = R_f + (1 - R_f) exp(-t / tau), with R_f = 1 - final_sparsity and t = step - begin_step, so
    that the normalised rate of pruning is the constant -1 / tau.

    Args:
        final_sparsity: 1 - R_f, in [0, 1).
        time_constant: tau in steps, > 0: epochs * steps_per_epoch.
        end_step: Last update, in steps, > begin_step.
        begin_step: First update, in steps.
        initial_sparsity: Sparsity up to `begin_step`, in [0, final_sparsity].
        frequency: Steps between updates, or a float in (0, 1], a fraction of `steps_per_epoch`.
        snap_final: Whether the value from `end_step` on is exactly `final_sparsity`; if not, it
            keeps eq. 4's residue (1 - R_f) exp(-T / tau).

    Raises:
        ValueError: If an argument is out of its range.

    >>> schedule = ExponentialDecay(final_sparsity=0.85, time_constant=3 * 100, end_step=35 * 100)
    >>> [round(schedule.keep_ratio(100 * epoch), 3) for epoch in (0, 1, 2, 3, 5, 10, 35)]
    [1.0, 0.759, 0.586, 0.463, 0.311, 0.18, 0.15]
    """

    _least_span = 1

    def __init__(
        self,
        final_sparsity: float,
        time_constant: float,
        end_step: int,
        begin_step: int = 0,
        initial_sparsity: float = 0.0,
        frequency: float = 100,
        snap_final: bool = True,
        *,
        steps_per_epoch: int | None = None,
    ) -> None:
        self._set(
            initial_sparsity, final_sparsity, begin_step, end_step, frequency, steps_per_epoch
        )
        self.time_constant = _number("time_constant", time_constant, positive=True)
        self.snap_final = bool(snap_final)

    def _sparsity(self, ops: _Ops, elapsed: Any) -> Any:
        return self._left(ops.exp(-self._clock(ops, elapsed) / self.time_constant))

    def _clock(self, ops: _Ops, elapsed: Any) -> Any:
        """Returns t of the formula, in steps."""
        return ops.real(elapsed)


@_register
class CyclicExponentialDecay(ExponentialDecay):
    """ExponentialDecay that moves only at the start, the gate, of each cycle of epochs.

    Azarian & Porikli 2021 (arXiv 2103.10629), section 3.1: with a cyclic learning rate the target
    "is only updated during the first two epochs in each cycle", while the rate is high. The text
    leaves open by how much. With C = cycle_epochs, G = gate_epochs, c = floor(t / C) and
    g = min(t mod C, G), all in epochs since `begin_step`, eq. 4 is taken at the time

    * "freeze": G c + g, the clock stands still outside of the gate;
    * "hold": C c + g, eq. 4 itself in the gate, held after it, a jump at the start of a cycle;
    * "stretch": C c + (C / G) g, faster in the gate, so that it meets eq. 4 at each cycle's end.

    Updates are due in the gate only, always at its last step (whose value holds until the next
    cycle), and at `end_step`.

    Args:
        final_sparsity, time_constant, end_step: As in ExponentialDecay.
        steps_per_epoch: Optimizer updates in an epoch.
        cycle_epochs: C, > 0, not necessarily whole.
        gate_epochs: G, in (0, cycle_epochs].
        mode: "freeze", "hold" or "stretch".
        begin_step: First update and start of the first cycle, in steps.
        initial_sparsity, frequency, snap_final: As in ExponentialDecay.

    Raises:
        ValueError: If an argument is out of its range.

    >>> schedule = CyclicExponentialDecay(0.85, 3 * 100, 35 * 100, steps_per_epoch=100)
    >>> [round(schedule.keep_ratio(100 * epoch), 3) for epoch in (1, 2, 7, 8, 9, 35)]
    [0.759, 0.586, 0.586, 0.463, 0.374, 0.15]
    """

    def __init__(
        self,
        final_sparsity: float,
        time_constant: float,
        end_step: int,
        steps_per_epoch: int,
        cycle_epochs: float = 7,
        gate_epochs: float = 2,
        mode: str = "freeze",
        begin_step: int = 0,
        initial_sparsity: float = 0.0,
        frequency: float = 100,
        snap_final: bool = True,
    ) -> None:
        self.steps_per_epoch = _whole("steps_per_epoch", steps_per_epoch, 1)
        super().__init__(
            final_sparsity,
            time_constant,
            end_step,
            begin_step,
            initial_sparsity,
            frequency,
            snap_final,
            steps_per_epoch=steps_per_epoch,
        )
        self.cycle_epochs = _number("cycle_epochs", cycle_epochs, positive=True)
        self.gate_epochs = _number("gate_epochs", gate_epochs, positive=True)
        if self.gate_epochs > self.cycle_epochs:
            raise ValueError(
                f"expected gate_epochs <= cycle_epochs={cycle_epochs!r}, received {gate_epochs!r}"
            )
        if mode not in ("freeze", "hold", "stretch"):
            raise ValueError(
                f'expected mode to be "freeze", "hold" or "stretch", received {mode!r}'
            )
        self.mode = mode
        self._cycle, self._gate = (
            max(1, round(epochs * self.steps_per_epoch)) for epochs in (cycle_epochs, gate_epochs)
        )

    def _clock(self, ops: _Ops, elapsed: Any) -> Any:
        start = elapsed // self._cycle * (self._gate if self.mode == "freeze" else self._cycle)
        inside = ops.clip(elapsed % self._cycle, 0, self._gate)
        if self.mode == "stretch":
            return ops.real(start) + ops.real(inside) * (self._cycle / self._gate)
        return ops.real(start + inside)

    def _due(self, elapsed: Any) -> Any:
        place = elapsed % self._cycle
        due = super()._due(elapsed) & (place <= self._gate) | (place == self._gate)
        return (elapsed >= 0) & (elapsed < self._span) & due | (elapsed == self._span)


@_register
class OneShot(_Ramp):
    """All of the pruning in one update, at `step`: s = 0 before it, final_sparsity from it on.

    Args:
        final_sparsity: Sparsity in [0, 1).
        step: The update, in steps; also kept as `begin_step` and `end_step`.

    Raises:
        ValueError: If an argument is out of its range.

    >>> schedule = OneShot(0.8, step=500)
    >>> schedule(499), schedule(500), schedule(501)
    ((False, 0.0), (True, 0.8), (False, 0.8))
    """

    def __init__(self, final_sparsity: float, step: int = 0) -> None:
        step = _whole("step", step, 0)
        self._set(0.0, final_sparsity, step, step, 1, None)

    @property
    def step(self) -> int:
        """The step of the update."""
        return self.begin_step


@_register
class Iterative(_Ramp):
    """Rounds of pruning and retraining. Renda et al. 2020 (arXiv 2003.02389).

    r = max(keep_per_round ** (k + 1), 1 - final_sparsity) in round k = 0, 1, .. since
    `begin_step`. An update is due at the start of each round; the first round that reaches the
    final sparsity is the last, its start is `end_step`.

    Args:
        final_sparsity: Sparsity in [0, 1).
        steps_per_round: Steps from one round to the next, >= 1; also kept as `frequency`.
        begin_step: Start of the first round, in steps. Before it the sparsity is 0.
        keep_per_round: What part of the kept weights a round keeps, in (0, 1).

    Raises:
        ValueError: If an argument is out of its range.

    >>> schedule = Iterative(0.5, steps_per_round=1000)
    >>> [(step, round(schedule(step)[1], 3)) for step in range(9999) if schedule(step)[0]]
    [(0, 0.2), (1000, 0.36), (2000, 0.488), (3000, 0.5)]
    """

    def __init__(
        self,
        final_sparsity: float,
        steps_per_round: int,
        begin_step: int = 0,
        keep_per_round: float = 0.8,
    ) -> None:
        self._validate_sparsity(final_sparsity, "final_sparsity")
        self.steps_per_round = _whole("steps_per_round", steps_per_round, 1)
        self.keep_per_round = _number("keep_per_round", keep_per_round, positive=True)
        if self.keep_per_round >= 1:
            raise ValueError(
                f"expected keep_per_round to be in (0, 1), received {keep_per_round!r}"
            )
        # Else rounding makes one round too many of a final sparsity like 1 - 0.8**5.
        rounds = math.log(1 - final_sparsity) / math.log(self.keep_per_round) - 1e-9
        begin_step = _whole("begin_step", begin_step, 0)
        end_step = begin_step + (max(1, math.ceil(rounds)) - 1) * self.steps_per_round
        self._set(0.0, final_sparsity, begin_step, end_step, self.steps_per_round, None)

    def _sparsity(self, ops: _Ops, elapsed: Any) -> Any:
        # In float32 a power would multiply the rounding of its base.
        rounds = ops.real(elapsed // self.steps_per_round + 1)
        sparsity = 1.0 - ops.exp(rounds * math.log(self.keep_per_round))
        return ops.where(sparsity > self.final_sparsity, self.final_sparsity, sparsity)
