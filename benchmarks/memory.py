"""Measures the memory of pruning in bytes per weight: at any time, and in addition at an update.

    KERAS_BACKEND=jax python benchmarks/memory.py

The state of pruning takes memory at any time. An update needs additional temporary memory, which is
known from XLA's plan (`memory_analysis` of the compiled function). So this runs on JAX only.
"""

from __future__ import annotations

import jax
import keras
import numpy as np

import tfshed
from tfshed.attach.keras3.optimizer import pruning_optimizer
from tfshed.attach.keras3.wrapping import ensure_pruning

ARMS = {
    "global magnitude": {},
    "global random": {"criterion": "random"},
    "4x1 blocks": {"granularity": tfshed.Block(4, 1)},
    "per layer": {"scope": "layer"},
}


def main() -> None:
    if keras.backend.backend() != "jax":
        raise SystemExit(
            f"expected KERAS_BACKEND=jax, received {keras.backend.backend()!r}: only JAX can tell "
            "how much memory a compiled function takes"
        )
    print(f"{'':20}{'steady':>10}{'at update':>12}   bytes per weight")
    for name, kwargs in ARMS.items():
        sizes = (784, 2200, 1500, 300, 10)
        net = keras.Sequential(
            [keras.Input((sizes[0],)), *(keras.layers.Dense(n) for n in sizes[1:])]
        )
        schedule = tfshed.LinearDecay(0.8, end_step=1000, frequency=1)
        select = None if "granularity" not in kwargs else r"dense(_\d+)?/kernel"
        model = tfshed.prune_low_magnitude(net, schedule, select=select, **kwargs)
        model.compile(keras.optimizers.SGD(1e-3, momentum=0.9), "mse")
        ensure_pruning(model)
        group = pruning_optimizer(model.optimizer).groups[0]
        weights = sum(int(np.prod(k.variable.shape)) for k in group.kernels)
        state = sum(np.asarray(v.value).nbytes for v in group.variables)

        def update(values, masks, step, group=group):
            mapping = list(zip([k.variable for k in group.kernels], values))
            mapping += list(zip(group.masks, masks))
            with keras.StatelessScope(state_mapping=mapping):
                return group.prune(step)

        arguments = (
            [k.variable.value for k in group.kernels],
            [m.value for m in group.masks],
            np.int32(5),
        )
        plan = jax.jit(update).lower(*arguments).compile().memory_analysis()
        print(f"{name:20}{state / weights:10.2f}{plan.temp_size_in_bytes / weights:12.2f}")


if __name__ == "__main__":
    main()
