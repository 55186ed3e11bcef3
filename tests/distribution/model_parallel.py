"""What `test_model_parallel.py` runs with JAX: kernels spread over four devices. Prints JSON."""

from __future__ import annotations

import json

import keras
import numpy as np

import tfshed
from tfshed.attach.keras3.optimizer import pruning_optimizer
from tfshed.core.backend import to_numpy

OPTIONS = {
    "single weights": {"scope": "global", "threshold": 0.01},
    "blocks": {"granularity": "4x1"},
    "2:4": {"granularity": "2:4"},
    "filters": {"granularity": "filter", "select": "hidden"},
    "movement": {"criterion": "movement"},
}


def trained(options):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(16, "relu", name="hidden"), keras.layers.Dense(8, name="head")]
    net = keras.Sequential([keras.Input((8,)), *layers], name="net")
    schedule = tfshed.LinearDecay(0.6, end_step=6, frequency=2)
    model = tfshed.prune_low_magnitude(net, schedule, **options)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 8)).astype("float32"), rng.normal(size=(32, 8)).astype("float32")
    model.fit(x, y, 8, epochs=2, verbose=0, shuffle=False, callbacks=[tfshed.UpdatePruningStep()])
    (group,) = pruning_optimizer(model.optimizer).groups
    return model, group


def facts(group):
    return {
        "masks": [to_numpy(m).tolist() for m in group.masks],
        "weights": [to_numpy(k.variable).tolist() for k in group.kernels],
        "counts": to_numpy(group.counts).tolist(),
        "threshold": to_numpy(group.threshold).tolist(),
    }


def part(variable):
    """The shape of what one device holds of a variable."""
    return list(variable.value.sharding.shard_shape(tuple(variable.shape)))


def main():
    tfshed.distribution.setup("one_device", virtual_devices=4)
    found = {name: {"alone": facts(trained(options)[1])} for name, options in OPTIONS.items()}
    devices = keras.distribution.list_devices("cpu")
    mesh = keras.distribution.DeviceMesh((4,), ["fsdp"], devices)
    # Kernels alone are named: nothing is said of masks.
    layouts = keras.distribution.LayoutMap(mesh)
    layouts[".*/kernel"] = (None, "fsdp")
    keras.distribution.set_distribution(
        keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name="fsdp")
    )
    for name, options in OPTIONS.items():
        _, group = trained(options)
        found[name]["spread"] = facts(group)
        found[name]["parts"] = {
            "kernels": [part(k.variable) for k in group.kernels],
            "masks": [part(m) for m in group.masks],
            "criterion": [part(v) for state in group.criterion_state for v in state.values()],
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
