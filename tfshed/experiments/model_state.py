"""All variables of a compiled model as arrays, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfshed.core.backend import to_numpy

# What every replica has for itself.
OWN = ("others", "metrics")
# Names of variables that checkpoints of older versions do not have.
LATER = ("events",)


def capture(model: Any, metrics: Sequence[Any] = ()) -> dict[str, np.ndarray]:
    """Weights, seed generators, optimizer state (masks among it) and running metrics by name.

    Replicas have running metrics of their own, and in Keras 3 their own statistics of
    BatchNormalization: such variables have one axis more, of replicas. Several workers have to
    call it together.

    Args:
        model: compiled.
        metrics: those it was compiled with. The model itself knows them from its first step on.

    Example:
        >>> import keras
        >>> net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="head")])
        >>> net.compile("sgd", "mse")
        >>> [name for name in capture(net) if name.startswith("weights/")]
        ['weights/0000', 'weights/0001']
    """
    found: dict[str, np.ndarray] = {}
    own: dict[str, Any] = {}
    for part, variables in _parts(model, metrics).items():
        if part in OWN:
            own |= variables
        else:
            found |= {name: np.array(to_numpy(v)) for name, v in variables.items()}
    return found | _of_replicas(model, own)


def restore(
    model: Any,
    arrays: dict[str, np.ndarray],
    metrics: Sequence[Any] = (),
    parts: Sequence[str] = ("weights", "optimizer", "others"),
) -> None:
    """Puts captured arrays back into a model that was made in the same way.

    With another number of replicas than before, running metrics are shared out among them, and
    statistics are averaged.

    Args:
        model: compiled, its optimizer built.
        arrays, metrics: from and as in `capture`.
        parts: which. Running "metrics" are left out by default: Keras resets them when an epoch
            begins.

    Raises:
        ValueError: a variable that is missing, superfluous or of another shape; nothing has been
            changed then.
    """
    problems: list[str] = []
    todo: list[tuple[str, Any, np.ndarray]] = []
    for part, variables in _parts(model, metrics).items():
        if part not in parts:
            continue
        variables = _as_captured(variables, arrays, part)
        given = {n: a for n, a in arrays.items() if n.startswith(f"{part}/")}
        problems += [f"{n} is not of this model" for n in given if n not in variables]
        for name, variable in variables.items():
            if name not in given:
                problems.append(f"{name} ({variable.path}) is missing")
                continue
            shape, wanted = given[name].shape[part in OWN :], tuple(variable.shape)
            if shape != wanted:
                problems.append(f"{name} ({variable.path}) has shape {shape}, expected {wanted}")
            todo.append((part, variable, given[name]))
    if problems:
        raise ValueError(
            f"the checkpoint is not one of this run: {'; '.join(problems[:3])}"
            f"{f' and {len(problems) - 3} more' if len(problems) > 3 else ''}. Start with the "
            "command it was made with, or give another workdir."
        )
    strategy = _strategy(model)
    for part, variable, array in todo:
        if part not in OWN:
            variable.assign(array)
        elif strategy is not None and len(array) == strategy.num_replicas_in_sync:
            strategy.run(_assign_own, args=(variable, array))
        elif part == "metrics":
            variable.assign(array.sum(axis=0))
        elif len(array) == 1:
            variable.assign(array[0])
        else:
            variable.assign(array.astype("float64").mean(axis=0))


def _as_captured(
    variables: dict[str, Any], arrays: dict[str, np.ndarray], part: str
) -> dict[str, Any]:
    """The variables under the names that they had when the arrays were captured.

    Names are places, and an older version may have had fewer variables: those that it lacked keep
    the values with which they begin.
    """
    count = sum(name.startswith(f"{part}/") for name in arrays)
    old = [v for v in variables.values() if v.path.rpartition("/")[2] not in LATER]
    if len(variables) == count or len(old) != count:
        return variables
    return {f"{part}/{i:04d}": v for i, v in enumerate(old)}


def paths(model: Any, metrics: Sequence[Any] = ()) -> dict[str, str]:
    """The names of `capture`, each with the path by which Keras knows the variable.

    Example:
        >>> import keras
        >>> net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="head")])
        >>> net.compile("sgd", "mse")
        >>> paths(net)["weights/0001"].split("/")[-2:]
        ['head', 'bias']
    """
    parts = _parts(model, metrics).values()
    return {name: variable.path for part in parts for name, variable in part.items()}


def _strategy(model: Any) -> Any:
    found = getattr(model, "distribute_strategy", None)
    return found if found is not None and found.num_replicas_in_sync > 1 else None


def _of_replicas(model: Any, variables: dict[str, Any]) -> dict[str, np.ndarray]:
    """What each replica holds, along a first axis; of integers, which they share, one alone."""
    strategy = _strategy(model)
    found = {name: np.array(to_numpy(v))[None] for name, v in variables.items()}
    if strategy is None:
        return found
    import tensorflow as tf

    variables = {n: v for n, v in variables.items() if keras.backend.is_float_dtype(v.dtype)}

    @tf.function
    def read() -> Any:
        own = strategy.run(lambda: {n: tf.identity(v)[None] for n, v in variables.items()})
        return {name: strategy.gather(value, axis=0) for name, value in own.items()}

    return found | {name: value.numpy() for name, value in read().items()}


def _assign_own(variable: Any, array: np.ndarray) -> None:
    import tensorflow as tf

    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    variable.assign(tf.gather(array, replica))


def _parts(model: Any, metrics: Sequence[Any]) -> dict[str, dict[str, Any]]:
    """All variables, by part and name."""
    # The tracker of the loss is the first metric of a compiled model.
    running = [v for m in (*model.metrics[:1], *metrics) for v in m.variables]
    optimizer = [] if model.optimizer is None else model.optimizer.variables
    # Counted for warnings only, and not in checkpoints from before they were: a part of their own.
    events = [v for v in optimizer if v.path.endswith("/events")]
    weights = model.trainable_variables
    known = {id(v) for v in (*running, *model.metrics_variables, *optimizer, *weights)}
    others = [v for v in model.variables if id(v) not in known]
    kept = [v for v in optimizer if not v.path.endswith("/events")]
    parts = {"weights": weights, "optimizer": kept, "others": others, "metrics": running}
    parts["events"] = events
    # By place: names hold automatic ones, which count up within a process.
    return {p: {f"{p}/{i:04d}": v for i, v in enumerate(vs)} for p, vs in parts.items()}
