"""Compares the time of a training step on tf_keras: tfshed.tfmot, the real tfmot, no pruning.

    python benchmarks/tf_keras_step_time.py [--net mlp|resnet20] [--batch 32] [--jit] [--rounds 12]

It measures and prints as `step_time.py` does, with the same nets, data and options. The arm "keras"
is the same net in Keras 3, for comparison. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import step_time
from step_time import STEPS, network

import tfshed


def arms(net: str, jit: bool):
    """Returns a dict from the name of an arm to (name of its unpruned arm, compiled model)."""
    import keras

    from tfshed import tfmot
    from tfshed.attach.tf_keras.real import sparsity, tf_keras

    def compiled(module, model, callback=None):
        model.compile(
            module.optimizers.SGD(1e-3, momentum=0.9),
            module.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=jit,
        )
        if callback is not None:
            callback.set_model(model)
            callback.on_train_begin()
        return model

    made = {"keras": ("keras", compiled(keras, network(keras, net)))}
    made["tf_keras"] = ("tf_keras", compiled(tf_keras, network(tf_keras, net)))
    for every in (100, 1):
        ours = tfshed.ExponentialDecay(0.85, 1000, end_step=STEPS, frequency=every)
        theirs = sparsity.PolynomialDecay(0.0, 0.85, 0, STEPS, frequency=every)
        for name, prune, callback, schedule in (
            ("tfshed", tfshed.prune_low_magnitude, tfmot.UpdatePruningStep(), ours),
            # With tfmot's schedule, tfshed ranks each kernel separately and does not shed.
            ("as tfmot", tfshed.prune_low_magnitude, tfmot.UpdatePruningStep(), theirs),
            ("tfmot", sparsity.prune_low_magnitude, sparsity.UpdatePruningStep(), theirs),
        ):
            model = prune(network(tf_keras, net), schedule)
            made[f"{name}, update every {every}"] = (
                "tf_keras",
                compiled(tf_keras, model, callback),
            )
    return made


if __name__ == "__main__":
    step_time.arms = arms
    step_time.main()
