"""Captures all variables of a compiled model as arrays, and restores them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfshed.core.backend import to_numpy

# The parts of a model whose variables have a different value on each replica.
OWN = ("others", "metrics")
# The names of variables that are missing in checkpoints of older versions.
LATER = ("events",)


def capture(model: Any, metrics: Sequence[Any] = ()) -> dict[str, np.ndarray]:
    """Returns weights, seed generators, optimizer state with masks, and running metrics by name.

    Each replica has its own running metrics and, in Keras 3, its own statistics of
    BatchNormalization. The arrays of such variables have an additional first axis of replicas. If
    there are several workers, all of them must call this together.

    Args:
        model: A compiled model.
        metrics: The metrics it was compiled with. The model itself knows them only after its first
            step.

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
    """Restores captured arrays into a model that was made in the same way.

    If the number of replicas has changed, running metrics are summed and statistics are averaged
    over the former replicas.

    Args:
        model: A compiled model whose optimizer is built.
        arrays: The arrays that `capture` returned.
        metrics: As in `capture`.
        parts: The parts to restore. By default running "metrics" are left out, since Keras resets
            them when an epoch begins.

    Raises:
        ValueError: An array is missing, superfluous or of another shape. Nothing is changed then.
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
            f"{f' and {len(problems) - 3} more' if len(problems) > 3 else ''}. Use the command "
            "that it was made with, or choose another workdir."
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
    """The variables by the names that they had when the arrays were captured.

    A name contains the place of a variable in a list, and the list may have been shorter in an
    older version. Variables that are new since then keep their initial values.
    """
    count = sum(name.startswith(f"{part}/") for name in arrays)
    old = [v for v in variables.values() if v.path.rpartition("/")[2] not in LATER]
    if len(variables) == count or len(old) != count:
        return variables
    return {f"{part}/{i:04d}": v for i, v in enumerate(old)}


def paths(model: Any, metrics: Sequence[Any] = ()) -> dict[str, str]:
    """Returns a dict from the names of `capture` to the paths of variables in Keras.

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
    """The values of all replicas along a first axis; integers are the same on all, so only one."""
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
    # The first metric of a compiled model tracks the loss.
    running = [v for m in (*model.metrics[:1], *metrics) for v in m.variables]
    optimizer = [] if model.optimizer is None else model.optimizer.variables
    # These counts serve for warnings only. Older checkpoints lack them, so they are another part.
    events = [v for v in optimizer if v.path.endswith("/events")]
    weights = model.trainable_variables
    known = {id(v) for v in (*running, *model.metrics_variables, *optimizer, *weights)}
    others = [v for v in model.variables if id(v) not in known]
    kept = [v for v in optimizer if not v.path.endswith("/events")]
    parts = {"weights": weights, "optimizer": kept, "others": others, "metrics": running}
    parts["events"] = events
    # Variables are identified by their place, since Keras' automatic names contain a counter that
    # differs between processes.
    return {p: {f"{p}/{i:04d}": v for i, v in enumerate(vs)} for p, vs in parts.items()}
