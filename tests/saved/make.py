"""Wrote the files beside it, at commit bf3afc0: models, exports and a run, each with its numbers.

tests/test_saved_files.py loads them with today's code, so they stay what that commit wrote: do not
write them again because a test fails. For a new kind of file add a function, and in a checkout of
the commit that is to have written it

    KERAS_BACKEND=tensorflow PYTHONPATH=. python tests/saved/make.py NAME [NAME ...]

with the names of functions out of `KINDS` writes theirs alone. Only public names are used.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from unittest import mock

import keras
import numpy as np

import tfshed

FOLDER = Path(__file__).parent
BATCH = 8
GRANULARITIES = (tfshed.Balanced, tfshed.Block, tfshed.Filter, tfshed.NxM, tfshed.Unstructured)


# What the files are made of, and the test looks at.


def array(x):
    return np.array(keras.ops.convert_to_numpy(x))


def data(inputs, outputs, steps):
    """Batches for so many steps: normal numbers and labels, the same on every backend."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(BATCH * steps, *inputs)).astype("float32")
    return x, rng.integers(0, outputs, size=BATCH * steps)


def fit(model, x, y):
    """One epoch in order of the data; the running loss after each step."""
    losses = []
    # Of the model's own Keras, which may be tf_keras.
    ours = isinstance(model, keras.Model)
    if not ours:
        import tf_keras
    seen = (keras if ours else tf_keras).callbacks.LambdaCallback(
        on_batch_end=lambda batch, logs: losses.append(float(logs["loss"]))
    )
    callbacks = [tfshed.UpdatePruningStep() if ours else tfshed.tfmot.UpdatePruningStep(), seen]
    model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0, callbacks=callbacks)
    return np.array(losses)


def state(model):
    """Weights, and what pruning keeps, as arrays by name; of Keras 3 and of tf_keras."""
    found = {f"weight {i}": array(v) for i, v in enumerate(model.weights)}
    for layer in model.layers:
        if hasattr(layer, "pruning_vars"):
            found[f"{layer.name} step"] = array(layer.pruning_step)
            for i, (_, mask, threshold) in enumerate(layer.pruning_vars):
                found[f"{layer.name} mask {i}"] = array(mask)
                found[f"{layer.name} threshold {i}"] = array(threshold)
    variables = model.optimizer.variables
    variables = variables() if callable(variables) else variables
    # Files from before groups counted events do not have these.
    variables = [v for v in variables if not getattr(v, "path", "").endswith("/events")]
    for i, v in enumerate(variables):
        found[f"optimizer {i}"] = array(v)
    return found


def story(model, x, y):
    """What a saved model is now, what it says, and what three more steps make of it."""
    told = {f"saved/{name}": value for name, value in state(model).items()}
    told["outputs"] = array(model(x[:BATCH], training=False))
    told["losses"] = fit(model, x, y)
    # What the optimizer has is seen in the weights.
    after = {n: v for n, v in state(model).items() if not n.startswith("optimizer")}
    return told | {f"after/{name}": value for name, value in after.items()}


def write_story(name, model, x, y):
    """All arrays in one: an entry of a zip file for each takes more room than what is in it."""
    told = {"x": x, "y": y, **story(model, x, y)}
    rows = [[n, v.dtype.name, v.shape] for n, v in told.items()]
    values = np.concatenate([np.ravel(v) for v in told.values()], dtype="float64").astype("float32")
    for (_, dtype, _), v, w in zip(rows, told.values(), parts(rows, values)):
        np.testing.assert_array_equal(v if dtype != "float64" else v.astype("float32"), w)
    np.savez_compressed(FOLDER / f"{name}.npz", rows=json.dumps(rows), values=values)


def parts(rows, values):
    sizes = [int(np.prod(shape)) for _, _, shape in rows]
    split = np.split(values, np.cumsum(sizes)[:-1])
    return [v.astype(dtype).reshape(shape) for v, (_, dtype, shape) in zip(split, rows)]


def read_story(name):
    """The arrays of `story` by name, and the data as x and y."""
    with np.load(FOLDER / f"{name}.npz") as found:
        rows = json.loads(found["rows"].item())
        return dict(zip([name for name, *_ in rows], parts(rows, found["values"])))


# Keras 3.


def global_net():
    """A Sequential under one ranking, compiled, not yet trained; it sheds, too."""
    keras.utils.set_random_seed(3)
    net = keras.Sequential(
        [
            keras.Input((12,)),
            keras.layers.Dense(16, activation="relu", name="hidden"),
            keras.layers.Dense(4, name="head"),
        ],
        name="net",
    )
    schedule = tfshed.ExponentialDecay(0.8, time_constant=4, end_step=12, frequency=2)
    model = tfshed.prune_low_magnitude(net, schedule, scope="global", threshold=0.01)
    model.compile(
        keras.optimizers.SGD(0.05, momentum=0.9),
        # An object: Keras cannot read the name of a loss from an HDF5 file.
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    return model


def write_global():
    """global.keras, global.h5 and global.weights.h5 after five steps: global.npz has the rest."""
    model = global_net()
    fit(model, *data((12,), 4, 5))
    # Deflated: of so many small variables, what `save` writes is mostly empty.
    tfshed.export.keras(model, FOLDER / "global.keras", overwrite=True)
    model.save(FOLDER / "global.h5")
    model.save_weights(FOLDER / "global.weights.h5", overwrite=True)
    write_story("global", model, *data((12,), 4, 3))


def write_kinds():
    """kinds.keras: all kinds of pruning in one net, a configuration for each layer."""
    keras.utils.set_random_seed(4)
    layers, wrap = keras.layers, tfshed.prune_low_magnitude
    decay = tfshed.SelectiveWeightDecay(0.01)
    first = wrap(
        layers.Conv2D(4, 2, activation="relu", name="conv"),
        tfshed.EarlierSchedule(tfshed.LinearDecay(0.5, 9, frequency=2), 2),
        granularity=tfshed.Block(4, 1),
        criterion=tfshed.Random(5),
        weight_decay=decay,
    )
    second = wrap(
        layers.Dense(12, activation="relu", name="banks"),
        tfshed.PolynomialDecay(0.2, 0.75, 1, 9, frequency=2),
        granularity=tfshed.Balanced(4),
    )
    third = wrap(
        layers.Dense(12, activation="relu", name="filters"),
        tfshed.LinearDecay(0.6, 9, frequency=1),
        granularity=tfshed.Filter("L2"),
        criterion=tfshed.Magnitude(),
        threshold=0.01,
    )
    fourth = wrap(
        layers.Dense(12, name="pattern"),
        tfshed.ConstantSparsity(0.5, 2, frequency=2),
        sparsity_m_by_n=(2, 4),
    )
    last = wrap(
        layers.Dense(10, name="head"),
        tfshed.Iterative(0.6, steps_per_round=2),
        granularity=tfshed.Unstructured(),
        scope="layer",
        monotone=False,
    )
    inputs = keras.Input((4, 4, 4))
    x = layers.BatchNormalization(name="norm")(first(inputs))
    x = layers.Flatten(name="flat")(x)
    x = third(second(x))
    x = layers.Add(name="add")([x, fourth(x)])
    model = keras.Model(inputs, last(x), name="kinds")
    rate = tfshed.learning_rates.CyclicStep((0.05, 0.01), (1,), 2, steps_per_epoch=2)
    model.compile(keras.optimizers.Adam(rate), smoothed_crossentropy(), jit_compile=False)
    fit(model, *data((4, 4, 4), 10, 5))
    tfshed.export.keras(model, FOLDER / "kinds.keras", overwrite=True)
    write_story("kinds", model, *data((4, 4, 4), 10, 3))


def smoothed_crossentropy():
    """The loss of a recipe with label smoothing, which has no public name of its own."""
    tfshed.training  # noqa: B018  # which registers it
    kind = keras.saving.get_registered_object("tfshed>SmoothedCrossentropy")
    return kind(label_smoothing=0.1)


def objects():
    """One of each registered class that a file can hold, with arguments that are no defaults."""
    wrapped = tfshed.prune_low_magnitude(
        keras.layers.Dense(4, name="dense"),
        tfshed.LinearDecay(0.8, end_step=10),
        granularity=tfshed.Block(2, 2, pooling="MAX", pad=True),
        criterion="random",
        seed=3,
        threshold=0.02,
        shed_every=2,
        weight_decay=tfshed.SelectiveWeightDecay(0.1, {0: 0, 1: 3, 2: 2, 3: 1, 4: 0}, 0.006),
        collapse_guard=0.2,
    )
    wrapped.build((None, 8))
    inner = keras.optimizers.SGD(0.1, momentum=0.9, name="inner")
    optimizer = tfshed.PruningOptimizer(inner, wrapped, mask_gradients=True, name="outer")
    optimizer.build(wrapped.trainable_variables)
    rates = tfshed.learning_rates
    found = [
        tfshed.ConstantSparsity(0.5, 3, 20, frequency=4),
        tfshed.CyclicExponentialDecay(
            0.85, 9, 35, 4, cycle_epochs=3, gate_epochs=1.5, mode="stretch", begin_step=2,
            initial_sparsity=0.1, frequency=2, snap_final=False,
        ),
        tfshed.ExponentialDecay(
            0.85, 9, 35, begin_step=3, initial_sparsity=0.1, frequency=4, snap_final=False
        ),
        tfshed.Iterative(0.9, steps_per_round=5, begin_step=4, keep_per_round=0.7),
        tfshed.LinearDecay(0.9, 35, begin_step=5, initial_sparsity=0.2, frequency=3),
        tfshed.OneShot(0.7, step=12),
        tfshed.PolynomialDecay(0.1, 0.8, 2, 31, power=2, frequency=5),
        tfshed.EarlierSchedule(tfshed.PolynomialDecay(0.1, 0.8, 2, 31), 3),
        rates.MultiStep((0.1, 0.01, 0.001), (2, 4.5), steps_per_epoch=6, warmup_epochs=0.5),
        rates.CyclicStep((0.1, 0.01), (1.5,), cycle=3, steps_per_epoch=4),
        tfshed.Magnitude(),
        tfshed.Random(11),
        tfshed.Balanced(8),
        tfshed.Block(4, 2, pooling="AVG", pad=True),
        tfshed.Filter("MAX"),
        tfshed.NxM(1, 4),
        tfshed.Unstructured(),
        tfshed.SelectiveWeightDecay(0.1, {0: 0, 1: 3, 2: 0}, 0.006),
        smoothed_crossentropy(),
        wrapped.config,
        wrapped,
        optimizer,
    ]  # fmt: skip
    return {type(each).__name__: each for each in found}


def behaviour(thing):
    """What an object of `objects()` does, as JSON holds it; None where its config says it all."""
    if isinstance(thing, tfshed.PruningSchedule):
        due = "".join("x" if thing(step)[0] else "." for step in range(40))
        return [due, [thing(step)[1] for step in range(0, 40, 3)]]
    if isinstance(thing, keras.optimizers.schedules.LearningRateSchedule):
        return [float(array(thing(step))) for step in range(30)]
    if isinstance(thing, keras.losses.Loss):
        return float(array(thing(np.array([1, 0]), np.array([[0.5, 2.0], [3.0, -1.0]], "f"))))
    is_criterion = isinstance(thing, tfshed.Criterion)
    if is_criterion or isinstance(thing, GRANULARITIES):
        net = keras.Sequential([keras.Input((16,)), keras.layers.Dense(8)])
        kernel = np.random.default_rng(9).normal(size=(16, 8)).astype("float32")
        net.set_weights([kernel, np.zeros(8)])
        how = {"criterion" if is_criterion else "granularity": thing}
        tfshed.sparsify(net, 0.6, select="kernel", **how)
        return ["".join("x" if w else "." for w in row) for row in net.get_weights()[0]]
    return None


def write_objects():
    """objects.json: each class by its own, as Keras serializes it, and what it does."""
    put = keras.saving.serialize_keras_object
    rows = {n: {"saved": put(o), "behaviour": behaviour(o)} for n, o in objects().items()}
    lines = [f'  "{name}": {json.dumps(row)}' for name, row in rows.items()]
    (FOLDER / "objects.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


# tf_keras.


def write_tf_keras():
    """tf_keras.h5 and tf_keras.keras in the middle of pruning, by tfshed's and tfmot's schedule."""
    import tensorflow_model_optimization.sparsity.keras as real
    import tf_keras

    def net():
        tf_keras.utils.set_random_seed(5)
        return tf_keras.Sequential(
            [
                tf_keras.layers.Dense(16, "relu", input_shape=(12,), name="hidden"),
                tf_keras.layers.Dense(4, name="head"),
            ],
            name="net",
        )

    rate = tfshed.tfmot.LearningRate(tfshed.learning_rates.MultiStep((0.05, 0.02), (3,), 2))
    h5 = tfshed.prune_low_magnitude(
        net(),
        tfshed.ExponentialDecay(0.8, time_constant=4, end_step=12, frequency=2),
        threshold=0.01,
    )
    v3 = tfshed.prune_low_magnitude(
        net(),
        real.PolynomialDecay(0.2, 0.75, 1, 9, frequency=2),
        granularity=tfshed.Block(4, 1),
        criterion="random",
        weight_decay=tfshed.SelectiveWeightDecay(0.01),
    )
    for ending, model in (("h5", h5), ("keras", v3)):
        model.compile(
            tf_keras.optimizers.SGD(rate if model is v3 else 0.05, momentum=0.9),
            tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        fit(model, *data((12,), 4, 5))
        model.save(FOLDER / f"tf_keras.{ending}")
        write_story(f"tf_keras_{ending}", model, *data((12,), 4, 3))


# Exports.


def write_exports():
    """export/: packed and dense SavedModels, deflated .keras, sparse LiteRT; what they give."""
    folder = FOLDER / "export"
    shutil.rmtree(folder, ignore_errors=True)
    keras.utils.set_random_seed(6)
    net = keras.Sequential(
        [
            keras.Input((32,), name="x"),
            keras.layers.Dense(48, activation="relu", name="hidden"),
            keras.layers.Dense(4, name="head"),
        ],
        name="net",
    )
    blocks = tfshed.Block(4, 1)
    net = tfshed.sparsify(net, 0.85, granularity=blocks, select="hidden")
    tfshed.export.saved_model(net, folder / "packed")
    tfshed.export.saved_model(net, folder / "dense", packed=False)
    tfshed.export.keras(net, folder / "net.keras")
    tfshed.export.litert(net, folder / "net.tflite")
    x = data((32,), 2, 1)[0]
    weights = {f"weight {i}": w for i, w in enumerate(net.get_weights())}
    outputs = {kind: run_saved_model(folder / kind, x)[1] for kind in ("packed", "dense")}
    outputs["net.keras"] = array(net(x, training=False))
    outputs["net.tflite"] = run_litert(folder / "net.tflite", x)
    np.savez_compressed(folder / "expected.npz", x=x, **weights, **outputs)
    (folder / "packing.txt").write_text(f"{tfshed.export.packing(folder / 'packed')}\n")


def run_saved_model(path, x):
    """The variables of a SavedModel, and its outputs."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    (outputs,) = loaded.signatures["serving_default"](x=tf.constant(x)).values()
    return [v.numpy() for v in loaded.variables], outputs.numpy()


def run_litert(path, x):
    import warnings

    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the interpreter will move to another package
        interpreter = tf.lite.Interpreter(str(path))
    (outputs,) = interpreter.get_signature_runner("serving_default")(x=x).values()
    return outputs


# A run.


def run_settings(workdir):
    """ResNet-8 on digits, as small as it can be: 4 steps an epoch, 3 epochs."""
    from tfshed.training import Settings, recipe

    config = recipe()
    config.initial_weights = "fresh"
    config.data.fraction = config.data.eval_fraction = 0.4
    config.data.augmentation = "pad_crop_flip"
    config.model.name, config.model.preprocessing = "resnet8", "unit"
    config.model.options = {"width": 2, "bn_momentum": 0.9}
    config.checkpoint.every_steps, config.checkpoint.keep = 3, 1
    prune = config.prune
    prune.epochs, prune.batch_size, prune.jit_compile = 3, 144, "false"
    prune.weight_decay, prune.label_smoothing = 1e-3, 0.1
    prune.sparsity, prune.time_constant, prune.frequency = 0.6, 1.0, 2
    prune.threshold, prune.evaluate_updates = 2e-3, True
    prune.learning_rate.rates, prune.learning_rate.milestones = (0.1, 0.01), (2.0,)
    return Settings("prune", config, workdir, seed=1)


def go_on(workdir):
    """The run from where it is to its end; its results, and what it said."""
    from tfshed.training import Run

    said = []
    found = Run(run_settings(workdir)).run(said.append)
    del found["steps_per_second"]
    return found, said


def final_weights(workdir):
    weights = keras.saving.load_model(Path(workdir) / "model.keras").get_weights()
    return np.concatenate([np.ravel(w) for w in weights])


def write_run():
    """run/: broken off in step 7 of 12, after the checkpoint of step 6; run_end/: how it ended."""
    path, end, whole = FOLDER / "run", FOLDER / "run_end", FOLDER / "whole"
    for folder in (path, end, whole):
        shutil.rmtree(folder, ignore_errors=True)
    seen = []

    def stop(self, batch, logs=None):
        seen.append(batch)
        if len(seen) == 8:
            raise KeyboardInterrupt

    begin = mock.patch.object(tfshed.UpdatePruningStep, "on_train_batch_begin", stop)
    try:
        with begin:
            go_on(path)
    except KeyboardInterrupt:
        pass
    # Events carry the name of the machine in theirs; plots are drawn again.
    shutil.rmtree(path / "tensorboard")
    for plot in path.glob("*.png"):
        plot.unlink()
    shutil.copytree(path, whole)
    results, said = go_on(whole)
    end.mkdir()
    (end / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    (end / "said.txt").write_text(said[0] + "\n")
    for name in ("keep_ratio.csv", "keep_ratio_layers.csv"):
        (whole / name).rename(end / name)
    np.savez_compressed(end / "weights.npz", all=final_weights(whole))
    shutil.rmtree(whole)


KINDS = {
    name.removeprefix("write_"): function
    for name, function in list(globals().items())
    if name.startswith("write_") and name != "write_story"
}

if __name__ == "__main__":
    for name in sys.argv[1:] or KINDS:
        KINDS[name]()
