"""Measures on an accelerator what pruning costs there, with JAX and with PyTorch.

    python benchmarks/gpu.py [--out FOLDER] [--backends jax torch] [--tiny]

One command of less than 10 minutes, for one accelerator. It needs Keras, NumPy and the backends,
but no TensorFlow; a backend that is not installed is left out, with a message. Each backend runs in
a process of its own. Three figures are measured, and written to FOLDER/gpu-DATE.csv with versions
and device:

1. The time of a training step of ResNet50 (batch 256, 224x224, float32) with pruning relative to
   one without, with an update every 100 steps and in every step. The arms run by turns.
2. The time of selecting 85 % of 25.5 million weights relative to the bandwidth floor: the time in
   which the device copies as many bytes as have to be read and written once, 4 for the key and 1
   for the mask of each weight.
3. Bytes of device memory for each weight: what the state of pruning takes, and the peak while
   weights are selected, less the keys.

`--tiny` takes a small net and few weights, to see on any machine that the script runs. The numbers
of such a run say nothing.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import importlib.util
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

FIELDS = ("date", "machine", "device", "backend", "versions", "figure", "arm", "value", "unit")
AIMS = {"step": "<= 1.01 with an update every 100 steps", "selection": "<= 4"}
Rows = Iterator[tuple[str, str, float, str]]


def device_name(backend: str) -> str:
    if backend == "jax":
        import jax

        return jax.devices()[0].device_kind
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def wait(backend: str, value: Any) -> None:
    """Waits until `value` is computed."""
    if backend == "jax":
        import jax

        jax.block_until_ready(value)
        return
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def by_turns(backend: str, arms: dict[str, Callable[[], Any]], seconds: float) -> dict[str, float]:
    """Runs all arms in rounds for about so many seconds; returns the median of each, in seconds."""
    times: dict[str, list[float]] = {name: [] for name in arms}
    for arm in arms.values():  # compiles
        wait(backend, arm())
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(next(iter(times.values()))) < 3:
        for name, arm in arms.items():
            start = time.perf_counter()
            wait(backend, arm())
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def network(tiny: bool) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    if tiny:
        layers = keras.layers
        stack = [layers.Conv2D(8, 3), layers.BatchNormalization(), layers.ReLU()]
        return keras.Sequential(
            [keras.Input((16, 16, 3)), *stack, layers.GlobalAveragePooling2D(), layers.Dense(10)]
        )
    return keras.applications.ResNet50(weights=None, classifier_activation=None)


def training_step(
    backend: str, frequency: int | None, tiny: bool
) -> tuple[Callable[[], Any], float | None]:
    """Returns a step on one batch that stays on the device, and the bytes of pruning's state."""
    import keras
    import numpy as np

    import tfshed

    model, optimizer = network(tiny), keras.optimizers.SGD(1e-3, momentum=0.9)
    state = None
    if frequency is not None:
        schedule = tfshed.ExponentialDecay(0.85, 1000, end_step=10**6, frequency=frequency)
        model = tfshed.prune_low_magnitude(model, schedule)
        optimizer = tfshed.PruningOptimizer(optimizer, model)
    optimizer.build(model.trainable_variables)
    if frequency is not None:
        kernels = [k for group in optimizer.groups for k in group.kernels]
        held = sum(v.value.nbytes for group in optimizer.groups for v in group.variables)
        state = held / sum(int(np.prod(k.variable.shape)) for k in kernels)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    rng = np.random.default_rng(0)
    shape = (8, *model.input_shape[1:]) if tiny else (256, *model.input_shape[1:])
    x = keras.ops.convert_to_tensor(rng.standard_normal(shape, dtype="float32"))
    y = keras.ops.convert_to_tensor(rng.integers(0, 10, shape[0]))
    if backend == "jax":
        return _jax_step(model, optimizer, loss_of, x, y), state
    return _torch_step(model, optimizer, loss_of, x, y), state


def _jax_step(model: Any, optimizer: Any, loss_of: Any, x: Any, y: Any) -> Callable[[], Any]:
    import jax

    def loss(weights, others, x, y):
        outputs, others = model.stateless_call(weights, others, x, training=True)
        return loss_of(y, outputs), others

    def step(held, x, y):
        weights, others, slots = held
        (value, others), gradients = jax.value_and_grad(loss, has_aux=True)(weights, others, x, y)
        weights, slots = optimizer.stateless_apply(slots, gradients, weights)
        return (weights, others, slots), value

    compiled = jax.jit(step, donate_argnums=0)
    parts = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    # Copies, since they are given away to the first step.
    held = [tuple([jax.numpy.array(v.value) for v in part] for part in parts)]

    def run():
        held[0], value = compiled(held[0], x, y)
        return value, held[0]

    return run


def _torch_step(model: Any, optimizer: Any, loss_of: Any, x: Any, y: Any) -> Callable[[], Any]:
    import torch

    variables = model.trainable_variables

    def run():
        model.zero_grad()
        loss = loss_of(y, model(x, training=True))
        loss.backward()
        with torch.no_grad():
            optimizer.apply([v.value.grad for v in variables], variables)
        return loss

    return run


def step_rows(backend: str, tiny: bool, seconds: float) -> Rows:
    steps, state = {}, None
    arms = {"not pruned": None, "update every 100 steps": 100, "update in every step": 1}
    for name, frequency in arms.items():
        steps[name], found = training_step(backend, frequency, tiny)
        state = state or found
    median = by_turns(backend, steps, seconds)
    for name in list(arms)[1:]:
        yield "step", name, median[name] / median["not pruned"], "of a step without pruning"
    yield "step", "not pruned", 1e3 * median["not pruned"], "ms"
    if state is not None:
        yield "memory", "state of pruning", state, "bytes per weight"


def selection_rows(backend: str, tiny: bool, seconds: float) -> Rows:
    import numpy as np
    from keras import ops

    from tfshed.core.backend import bits
    from tfshed.core.selection import smallest

    size = 1 << (16 if tiny else 24)
    weights = np.random.default_rng(0).standard_normal((size // 1024, 1024), dtype="float32")
    if not tiny:
        weights = np.resize(weights, (25_500, 1000))
    keys = bits(ops.convert_to_tensor(weights))
    n = ops.convert_to_tensor(np.array([int(0.85 * weights.size)], "int32"))
    source = ops.ones((4 * weights.size,), "float32")
    start_counting(backend)
    before = peak(backend)
    if backend == "jax":
        import jax

        select = jax.jit(lambda k, m: smallest([k], [0], m)[0])
        plan = select.lower(keys, n).compile().memory_analysis()
        planned = plan.temp_size_in_bytes / weights.size
        yield "memory", "temporary at a selection", planned, "bytes per weight"
        copy = jax.jit(lambda x: x + 1)
    else:

        def select(k, m):
            return smallest([k], [0], m)[0]

        def copy(x):
            return x + 1

    wait(backend, select(keys, n))
    after = peak(backend)
    if backend == "torch" and before is not None and after is not None:
        more = (after - before) / weights.size
        yield "memory", "temporary at a selection", more, "bytes per weight"
    arms = {"select": lambda: select(keys, n), "copy": lambda: copy(source)}
    median = by_turns(backend, arms, seconds)
    bandwidth = 2 * 4 * source.size if backend == "jax" else 2 * 4 * source.numel()
    bandwidth /= median["copy"]
    floor = 5 * weights.size / bandwidth
    yield "selection", f"{weights.size:,} weights", median["select"] / floor, "of the floor"
    yield "selection", f"{weights.size:,} weights", 1e3 * median["select"], "ms"
    yield "selection", "bandwidth of a copy", bandwidth / 1e9, "GB/s"


def peak(backend: str) -> int | None:
    """The highest use of device memory since `start_counting` in bytes; None if not counted."""
    if backend == "torch":
        import torch

        if torch.cuda.is_available():
            return torch.cuda.max_memory_allocated()
    return None


def start_counting(backend: str) -> None:
    if backend == "torch":
        import torch

        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()


def measure(backend: str, tiny: bool) -> None:
    """Prints one JSON list for each row; called in the process of a backend."""
    seconds = 1.0 if tiny else 60.0
    for rows in (selection_rows(backend, tiny, seconds / 3), step_rows(backend, tiny, seconds)):
        for row in rows:
            print(json.dumps(["row", *row]), flush=True)
    import keras
    import numpy

    module = __import__(backend)
    versions = {"keras": keras.__version__, "numpy": numpy.__version__}
    versions |= {backend: module.__version__, "python": platform.python_version()}
    words = " ".join(f"{name} {version}" for name, version in versions.items())
    print(json.dumps(["device", device_name(backend), words]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out"))
    parser.add_argument("--backends", nargs="+", choices=("jax", "torch"), default=["jax", "torch"])
    parser.add_argument("--tiny", action="store_true", help="small sizes, to try the script")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(args.measure, args.tiny)
        return 0
    now = datetime.datetime.now().astimezone()
    root = pathlib.Path(__file__).resolve().parents[1]
    found, failed = [], []
    for backend in args.backends:
        if importlib.util.find_spec(backend) is None:
            print(f"{backend} is not installed: left out")
            continue
        environ = {**os.environ, "KERAS_BACKEND": backend, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        environ["PYTHONPATH"] = os.pathsep.join(
            [str(root), *filter(None, [environ.get("PYTHONPATH")])]
        )
        command = [sys.executable, __file__, "--measure", backend]
        done = subprocess.run(
            command + ["--tiny"] * args.tiny, env=environ, stdout=subprocess.PIPE, text=True
        )
        said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
        if done.returncode or not said or said[-1][0] != "device":
            failed.append(backend)
            continue
        _, device, versions = said.pop()
        for _, figure, arm, value, unit in said:
            aim = AIMS.get(figure, "") if unit.startswith("of ") else ""
            print(f"{backend:8}{figure:12}{arm:28}{value:12.3f} {unit}{aim and f'; aim {aim}'}")
            row = (now.isoformat(timespec="seconds"), platform.platform(), device, backend)
            found.append((*row, versions, figure, arm, f"{value:.4g}", unit))
    if found:
        args.out.mkdir(parents=True, exist_ok=True)
        path = args.out / f"gpu-{now:%Y%m%d-%H%M%S}.csv"
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([FIELDS, *found])
        print(f"written: {path}")
    if failed or not found:
        print(f"failed: {', '.join(failed) or 'nothing was measured'}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
