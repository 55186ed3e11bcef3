"""Measures the time of a training step with pruning relative to one without, and tfmot's likewise.

    python benchmarks/step_time.py [--net mlp|resnet20] [--batch 32] [--jit] [--rounds 12]

The arms are: Keras 3 without pruning; tfshed (global magnitude, shedding in every step) with an
update every 100 steps and in every step; tf_keras without pruning; tfmot with the same two
frequencies. All arms run in one process, in rounds, each round in another order. In every round the
time of an arm is divided by that of the arm without pruning of the same Keras. The median of these
ratios is printed, with quartiles. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripts"))

import tfshed_command

tfshed_command.import_tensorflow()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

import tfshed  # noqa: E402

SETTINGS = {"mlp": ((784,), (2200, 1500, 300)), "resnet20": ((32, 32, 3), None)}
STEPS = 10**6


def network(module, net: str):
    """Returns the same net in Keras 3 or tf_keras: `module` is one of the two packages."""
    layers = module.layers
    shape, widths = SETTINGS[net]
    if net == "mlp":
        stack = [layers.Dense(w, activation="relu") for w in widths] + [layers.Dense(10)]
        return module.Sequential([layers.InputLayer(shape), *stack])
    inputs = x = layers.Input(shape)

    def convolution(x, width, size, stride):
        x = layers.Conv2D(width, size, strides=stride, padding="same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    x = layers.ReLU()(convolution(x, 16, 3, 1))
    for width in (16, 32, 64):
        for block in range(3):
            stride = 2 if width > 16 and block == 0 else 1
            y = layers.ReLU()(convolution(x, width, 3, stride))
            y = convolution(y, width, 3, 1)
            short = convolution(x, width, 1, stride) if stride == 2 else x
            x = layers.ReLU()(layers.Add()([short, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return module.Model(inputs, layers.Dense(10)(x))


def arms(net: str, jit: bool):
    """Returns a dict from the name of an arm to (name of its unpruned arm, compiled model)."""

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
    for every in (100, 1):
        schedule = tfshed.ExponentialDecay(0.85, 1000, end_step=STEPS, frequency=every)
        model = tfshed.prune_low_magnitude(network(keras, net), schedule)
        made[f"tfshed, update every {every}"] = (
            "keras",
            compiled(keras, model, tfshed.UpdatePruningStep()),
        )
    import tf_keras
    from tensorflow_model_optimization.sparsity import keras as tfmot

    made["tf_keras"] = ("tf_keras", compiled(tf_keras, network(tf_keras, net)))
    for every in (100, 1):
        schedule = tfmot.PolynomialDecay(0.0, 0.85, 0, STEPS, frequency=every)
        model = tfmot.prune_low_magnitude(network(tf_keras, net), schedule)
        made[f"tfmot, update every {every}"] = (
            "tf_keras",
            compiled(tf_keras, model, tfmot.UpdatePruningStep()),
        )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", choices=sorted(SETTINGS), default="mlp")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--jit", action="store_true", help="compile with XLA")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=25, help="steps in a round")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(args.batch, *SETTINGS[args.net][0])).astype("float32")
    y = rng.integers(0, 10, args.batch)
    data = tf.data.Dataset.from_tensors((tf.constant(x), tf.constant(y))).repeat()
    made = arms(args.net, args.jit)
    loops = {}
    for name, (_, model) in made.items():
        model.make_train_function()
        loops[name] = (model.train_function, iter(data))
    seconds: dict[str, list[float]] = {name: [] for name in made}
    for turn in range(args.rounds + 1):
        order = list(made)
        random.Random(turn).shuffle(order)
        for name in order:
            step, batches = loops[name]
            step(batches)  # fills the caches with the data of this arm
            start, done = time.perf_counter(), 0
            # An arm whose steps take seconds runs fewer of them.
            while done < args.steps and time.perf_counter() - start < 2.0:
                logs = step(batches)
                done += 1
            # Reading the loss waits for the step, which would otherwise count for the next arm.
            float(next(iter(logs.values())))
            if turn:  # the first round compiles
                seconds[name].append((time.perf_counter() - start) / done)
        print(f"\rround {turn}/{args.rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    count = made["keras"][1].count_params()
    print(
        f"{args.net}, {count:,} parameters, batch {args.batch}, XLA {'on' if args.jit else 'off'}"
    )
    print(f"{'':28}{'ms':>8}{'ratio':>8}  quartiles")
    for name, (base, _) in made.items():
        ratios = np.array(seconds[name]) / np.array(seconds[base])
        low, middle, high = np.percentile(ratios, [25, 50, 75])
        ms = 1e3 * np.median(seconds[name])
        print(f"{name:28}{ms:8.2f}{middle:8.2f}  {low:.2f} - {high:.2f}")


if __name__ == "__main__":
    main()
