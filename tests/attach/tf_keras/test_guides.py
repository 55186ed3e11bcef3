"""tfmot's guides on pruning, walked through with small data and one import changed.

Of tensorflow/model-optimization, g3doc/guide/pruning: comprehensive_guide, pruning_with_keras,
pruning_for_on_device_inference, pruning_with_sparsity_2_by_4. Every call of tfmot's that they make
is made, in their order.
"""

from __future__ import annotations

import gzip

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfshed
from tests.attach.tf_keras.nets import check_zeros, tf_keras
from tfshed import tfmot

# The names of `tfmot.sparsity.keras` in the guides, and the Keras that goes with them.
SIDES = {"Keras 3": (keras, tfshed), "tf_keras": (tf_keras, tfmot.sparsity.keras)}
# The format that keeps the optimizer, with the calls of the guides.
FILES = {"Keras 3": ".keras", "tf_keras": ".h5"}
pytestmark = [
    pytest.mark.parametrize("side", SIDES),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5"),
    pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated"),
]
RNG = np.random.default_rng(0)
X20 = RNG.normal(size=(8, 20)).astype("float32")
Y20 = np.eye(20, dtype="float32")[RNG.integers(0, 20, 8)]


def setup_model(k):
    return k.Sequential([k.Input((20,)), k.layers.Dense(20, name="first"), k.layers.Flatten()])


def compiled(k, model, **options):
    # The guides leave compiling to Keras' default, which costs seconds each time.
    model.compile(
        loss=k.losses.CategoricalCrossentropy(from_logits=True),
        optimizer="adam",
        metrics=["accuracy"],
        run_eagerly=True,
        **options,
    )
    return model


def zeros(weights):
    return float(np.mean(np.asarray(weights) == 0))


def gzipped(k, model, path):
    k.models.save_model(model, path, include_optimizer=False)
    return len(gzip.compress(path.read_bytes()))


def test_comprehensive_guide(side, tmp_path):
    k, sparsity = SIDES[side]
    path = str(tmp_path / "pretrained.weights.h5")
    pretrained = compiled(k, setup_model(k))
    pretrained.fit(X20, Y20, verbose=0)
    pretrained.save_weights(path)

    # Prune a whole model.
    base = setup_model(k)
    base.load_weights(path)
    model = sparsity.prune_low_magnitude(base)
    assert [layer.name for layer in model.layers if "prune" in layer.name] == [
        "prune_low_magnitude_first"
    ]

    # Prune some layers.
    def apply_to_dense(layer):
        if isinstance(layer, k.layers.Dense):
            return sparsity.prune_low_magnitude(layer)
        return layer

    base = setup_model(k)
    base.load_weights(path)
    some = k.models.clone_model(base, clone_function=apply_to_dense)
    np.testing.assert_array_equal(some(X20), pretrained(X20))

    # While defining: functional, Sequential, and a layer that also prunes its bias.
    inputs = k.Input(shape=(20,))
    x = sparsity.prune_low_magnitude(k.layers.Dense(10))(inputs)
    functional = k.Model(inputs=inputs, outputs=k.layers.Flatten()(x))

    class MyDense(k.layers.Dense, sparsity.PrunableLayer):
        def get_prunable_weights(self):
            return [self.kernel, self.bias]

    custom = k.Sequential(
        [
            k.Input((20,)),
            sparsity.prune_low_magnitude(
                MyDense(20, bias_initializer="normal"),
                sparsity.ConstantSparsity(0.5, 0, frequency=1),
            ),
            k.layers.Flatten(),
        ]
    )
    compiled(k, custom).fit(X20, Y20, epochs=2, verbose=0, callbacks=[sparsity.UpdatePruningStep()])
    assert [zeros(w) for w in custom.layers[-2].layer.get_weights()] == [0.5, 0.5]
    assert functional.count_params() >= 210

    # Model.fit, with the logs.
    log_dir = str(tmp_path / "logs")
    callbacks = [sparsity.UpdatePruningStep(), sparsity.PruningSummaries(log_dir=log_dir)]
    compiled(k, model).fit(X20, Y20, batch_size=4, epochs=2, callbacks=callbacks, verbose=0)
    assert any((tmp_path / "logs" / "metrics").iterdir())

    # Checkpoint and deserialize.
    file = tmp_path / f"model{FILES[side]}"
    model.save(file, include_optimizer=True)
    with sparsity.prune_scope():
        loaded = k.models.load_model(file)
    np.testing.assert_array_equal(loaded(X20), model(X20))

    # Deploy: strip, compress.
    schedule = sparsity.ConstantSparsity(0.9, 0, frequency=1)
    model = compiled(k, sparsity.prune_low_magnitude(base, schedule))
    model.fit(X20, Y20, verbose=0, callbacks=[sparsity.UpdatePruningStep()])
    export = sparsity.strip_pruning(model)
    assert zeros(export.layers[-2].get_weights()[0]) == 0.9
    assert gzipped(k, export, tmp_path / "e.h5") < gzipped(k, model, tmp_path / "m.h5")
    assert gzipped(k, export, tmp_path / "e.h5") < gzipped(k, pretrained, tmp_path / "p.h5")


def test_comprehensive_guide_custom_loop(side, tmp_path):
    k, sparsity = SIDES[side]
    model = sparsity.prune_low_magnitude(
        setup_model(k), sparsity.ConstantSparsity(0.5, 0, frequency=1)
    )
    loss = k.losses.CategoricalCrossentropy(from_logits=True)
    optimizer = k.optimizers.Adam()
    log_callback = sparsity.PruningSummaries(log_dir=str(tmp_path))
    if side == "Keras 3":
        # The one place where more than the import changes: the optimizer prunes.
        optimizer = tfshed.PruningOptimizer(optimizer, model)
        optimizer.build(model.trainable_variables)
        model.optimizer = optimizer
        log_callback.set_model(model)
    else:
        model.optimizer = optimizer
        step_callback = sparsity.UpdatePruningStep()
        step_callback.set_model(model)
        log_callback.set_model(model)
        step_callback.on_train_begin()
    for _ in range(2):
        log_callback.on_epoch_begin(epoch=-1)
        for i in range(2):
            if side != "Keras 3":
                step_callback.on_train_batch_begin(batch=-1)
            batch = slice(4 * i, 4 * i + 4)
            with tf.GradientTape() as tape:
                value = loss(Y20[batch], model(X20[batch], training=True))
            variables = model.trainable_variables
            optimizer.apply_gradients(zip(tape.gradient(value, variables), variables))
            assert zeros(model.layers[-2].layer.get_weights()[0]) == 0.5
        if side != "Keras 3":
            step_callback.on_epoch_end(batch=-1)
            check_zeros(model)
    assert any((tmp_path / "metrics").iterdir())


def images(size, channels, n=32):
    x = RNG.random(size=(n, size, size, channels)).astype("float32")
    return x, np.eye(10, dtype="float32")[RNG.integers(0, 10, n)]


@pytest.mark.slow
def test_pruning_with_keras(side, tmp_path):
    k, sparsity = SIDES[side]
    layers, (x, y) = k.layers, images(8, 1)
    # Built layer by layer, then a whole model of which the pretrained weights are taken.
    schedule = sparsity.PolynomialDecay(
        initial_sparsity=0.5, final_sparsity=0.9, begin_step=2, end_step=8, frequency=1
    )
    params = {"pruning_schedule": schedule}
    model = k.Sequential(
        [
            k.Input((8, 8, 1)),
            sparsity.prune_low_magnitude(
                layers.Conv2D(8, 5, padding="same", activation="relu"), **params
            ),
            layers.MaxPooling2D((2, 2), (2, 2), padding="same"),
            layers.BatchNormalization(),
            sparsity.prune_low_magnitude(
                layers.Conv2D(8, 5, padding="same", activation="relu"), **params
            ),
            layers.Flatten(),
            sparsity.prune_low_magnitude(layers.Dense(32, activation="relu"), **params),
            layers.Dropout(0.4),
            sparsity.prune_low_magnitude(layers.Dense(10, activation="softmax"), **params),
        ]
    )

    def train(model):
        model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
        callbacks = [
            sparsity.UpdatePruningStep(),
            sparsity.PruningSummaries(log_dir=str(tmp_path / "logs"), profile_batch=0),
        ]
        model.fit(
            x, y, batch_size=8, epochs=3, callbacks=callbacks, validation_data=(x, y), verbose=0
        )
        return model.evaluate(x, y, verbose=0)

    score = train(model)
    # Save, restore, and go on.
    file = tmp_path / f"checkpoint{FILES[side]}"
    k.models.save_model(model, file, include_optimizer=True)
    with sparsity.prune_scope():
        restored = k.models.load_model(file)
    assert restored.evaluate(x, y, verbose=0) == pytest.approx(score, rel=1e-5)
    callbacks = [sparsity.UpdatePruningStep()]
    restored.fit(x, y, batch_size=8, epochs=1, callbacks=callbacks, verbose=0)

    final = sparsity.strip_pruning(restored)
    kernels = [w for w in final.get_weights() if w.ndim > 1]
    assert all(zeros(w) == pytest.approx(0.9, abs=0.03) for w in kernels)
    dense = k.models.clone_model(final)
    assert gzipped(k, final, tmp_path / "f.h5") < 0.6 * gzipped(k, dense, tmp_path / "d.h5")

    whole = sparsity.prune_low_magnitude(final, pruning_schedule=schedule)
    train(whole)

    # TensorFlow Lite, and the same with post-training quantization.
    final = sparsity.strip_pruning(whole)
    sizes = []
    for optimizations in ([], [tf.lite.Optimize.DEFAULT]):
        converter = tf.lite.TFLiteConverter.from_keras_model(final)
        converter.optimizations = optimizations
        lite = converter.convert()
        sizes.append(len(gzip.compress(lite)))
        interpreter = tf.lite.Interpreter(model_content=lite)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x[:1])
        interpreter.invoke()
        found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        np.testing.assert_allclose(found, final(x[:1]), atol=0.05)
    assert sizes[1] < sizes[0]


@pytest.mark.slow
def test_pruning_for_on_device_inference(side, tmp_path):
    k, sparsity = SIDES[side]
    layers, (x, y) = k.layers, images(16, 3)

    def build(pooling):
        return k.Sequential(
            [
                k.Input((16, 16, 3)),
                layers.ZeroPadding2D(padding=1),
                layers.Conv2D(filters=8, kernel_size=(3, 3), strides=(2, 2), padding="valid"),
                layers.BatchNormalization(),
                layers.ReLU(),
                layers.DepthwiseConv2D(kernel_size=(3, 3), padding="same"),
                layers.BatchNormalization(),
                layers.ReLU(),
                layers.Conv2D(filters=16, kernel_size=(1, 1)),
                layers.BatchNormalization(),
                layers.ReLU(),
                layers.ZeroPadding2D(padding=1),
                layers.DepthwiseConv2D(kernel_size=(3, 3), strides=(2, 2), padding="valid"),
                layers.BatchNormalization(),
                layers.ReLU(),
                layers.Conv2D(filters=32, kernel_size=(1, 1)),
                layers.BatchNormalization(),
                layers.ReLU(),
                pooling,
                layers.Flatten(),
                layers.Dense(10),
            ]
        )

    dense = build(layers.GlobalMaxPooling2D())
    loss = k.losses.CategoricalCrossentropy(from_logits=True)
    dense.compile(loss=loss, optimizer="adam", metrics=["accuracy"])
    dense.fit(x, y, batch_size=8, epochs=1, validation_data=(x, y), verbose=0)
    params = {
        "pruning_schedule": sparsity.PolynomialDecay(
            initial_sparsity=0.25, final_sparsity=0.75, begin_step=0, end_step=8, frequency=2
        ),
        "pruning_policy": sparsity.PruneForLatencyOnXNNPack(),
    }
    with pytest.raises(ValueError, match="GlobalAveragePooling2D"):
        sparsity.prune_low_magnitude(dense, **params)
    fixed = build(layers.GlobalAveragePooling2D(keepdims=True))
    fixed.set_weights(dense.get_weights())
    model = sparsity.prune_low_magnitude(fixed, **params)
    callbacks = [
        sparsity.UpdatePruningStep(),
        sparsity.PruningSummaries(log_dir=str(tmp_path)),
    ]
    model.compile(loss=loss, optimizer="adam", metrics=["accuracy"])
    model.fit(x, y, batch_size=8, epochs=3, validation_data=(x, y), callbacks=callbacks, verbose=0)

    stripped = sparsity.strip_pruning(model)
    for layer in stripped.layers:
        if isinstance(layer, k.layers.Conv2D) and layer.kernel_size == (1, 1):
            assert zeros(layer.get_weights()[0]) == 0.75
        elif layer.get_weights():
            assert zeros(layer.get_weights()[0]) < 0.1
    converter = tf.lite.TFLiteConverter.from_keras_model(stripped)
    converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    assert converter.convert()


@pytest.mark.filterwarnings("ignore:Do not pass an `input_shape`:UserWarning")
def test_pruning_with_sparsity_2_by_4(side):
    k, sparsity = SIDES[side]
    layers, prune = k.layers, sparsity.prune_low_magnitude
    half = {"pruning_schedule": sparsity.ConstantSparsity(0.5, begin_step=0, frequency=1)}
    two_by_four = {**half, "sparsity_m_by_n": (2, 4)}
    model = k.Sequential(
        [
            prune(
                layers.Conv2D(4, 5, padding="same", input_shape=(8, 8, 1), name="sparsity_0_5"),
                **half,
            ),
            layers.MaxPooling2D((2, 2), (2, 2), padding="same"),
            prune(layers.Conv2D(8, 5, padding="same", name="structural"), **two_by_four),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D((2, 2), (2, 2), padding="same"),
            layers.Flatten(),
            prune(layers.Dense(16, activation="relu", name="structural_dense"), **two_by_four),
            layers.Dropout(0.4),
            layers.Dense(10),
        ]
    )
    compiled(k, model)
    model.summary(print_fn=lambda *_, **__: None)
    x, y = images(8, 1)
    callbacks = [sparsity.UpdatePruningStep()]
    model.fit(x, y, batch_size=4, epochs=2, verbose=0, callbacks=callbacks, validation_split=0.5)
    model.evaluate(x, y, verbose=0)

    stripped = sparsity.strip_pruning(model)
    for name in ("structural", "structural_dense"):
        kernel = np.asarray(stripped.get_layer(name).get_weights()[0])
        groups = np.moveaxis(kernel, -2, -1).reshape(-1, 4)
        np.testing.assert_array_equal((groups == 0).sum(1), 2)
    assert zeros(stripped.get_layer("sparsity_0_5").get_weights()[0]) == 0.5
