"""Saved in the middle of a run and gone on with: the same run, to the bit."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tfshed
from tests.nets import BACKEND, check_zeros, data, group, kernels, net, pruned, schedule
from tfshed.attach.keras3.optimizer import pruning_optimizer
from tfshed.attach.keras3.wrapping import ensure_pruning
from tfshed.core.backend import to_numpy

only_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.train.Checkpoint")
# These runs shed on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:the net has shed itself below its final target")
HALF = 3


def make():
    # Two updates before the break and two after; it sheds, too.
    return pruned(keras.optimizers.Adam(0.02), final=0.75, threshold=0.02, collapse_guard=0.0)


def train(model, epochs, callbacks=(), **options):
    x, y = data(32)
    model.fit(
        x,
        y,
        batch_size=32,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[tfshed.UpdatePruningStep(), *callbacks],
        **options,
    )


def state(model):
    return [*map(to_numpy, model.weights), *map(to_numpy, model.optimizer.variables)]


def same(model, other):
    for a, b in zip(state(model), state(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture
def unbroken():
    model = make()
    train(model, HALF)
    middle = int(to_numpy(group(model).counts)[0, 0])
    train(model, HALF)
    assert middle > to_numpy(group(model).counts)[0, 0] > 0
    return model


@pytest.fixture
def half():
    model = make()
    train(model, HALF)
    return model


@pytest.mark.backend
@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_a_saved_model_goes_on(half, unbroken, ending, tmp_path):
    half.save(tmp_path / f"m.{ending}")
    model = keras.models.load_model(tmp_path / f"m.{ending}")
    assert pruning_optimizer(model.optimizer) is not None
    train(model, HALF)
    same(model, unbroken)


@pytest.mark.backend
def test_saved_weights_bring_the_optimizer_with_them(half, unbroken, tmp_path):
    half.save_weights(tmp_path / "m.weights.h5")
    model = make()
    ensure_pruning(model)
    model.load_weights(tmp_path / "m.weights.h5")
    train(model, HALF)
    same(model, unbroken)


@pytest.mark.backend
def test_weights_and_the_optimizers_variables_go_on(half, unbroken):
    model = make()
    optimizer = ensure_pruning(model)
    model.set_weights(half.get_weights())
    for v, old in zip(optimizer.variables, half.optimizer.variables, strict=True):
        v.assign(to_numpy(old))
    train(model, HALF)
    same(model, unbroken)


@only_tensorflow
def test_a_checkpoint_goes_on(half, unbroken, tmp_path):
    import tensorflow as tf

    path = tf.train.Checkpoint(model=half, optimizer=half.optimizer).save(str(tmp_path / "c"))
    model = make()
    ensure_pruning(model)
    found = tf.train.Checkpoint(model=model, optimizer=model.optimizer).restore(path)
    found.assert_existing_objects_matched()
    train(model, HALF)
    same(model, unbroken)


class Interrupt(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == HALF:
            raise KeyboardInterrupt


@pytest.mark.backend
def test_a_run_that_was_interrupted_goes_on(unbroken, tmp_path):
    backup = lambda: keras.callbacks.BackupAndRestore(tmp_path)  # noqa: E731
    model = make()
    with pytest.raises(KeyboardInterrupt):
        train(model, 2 * HALF, [backup(), Interrupt()])
    model = make()
    train(model, 2 * HALF, [backup()])
    same(model, unbroken)


@pytest.mark.backend
def test_zeros_are_the_mask_of_a_model_saved_without_its_optimizer(half, tmp_path):
    half.save(tmp_path / "m.keras", include_optimizer=False)
    model = keras.models.load_model(tmp_path / "m.keras")
    model.compile(keras.optimizers.Adam(0.02), "mse")
    ensure_pruning(model)
    for mask, before, w in zip(group(model).masks, group(half).masks, kernels(model)):
        np.testing.assert_array_equal(to_numpy(mask), to_numpy(before))
        np.testing.assert_array_equal(w != 0, to_numpy(mask))
    gone = [w == 0 for w in kernels(model)]
    train(model, 4)
    for w, zero in zip(kernels(model), gone):
        assert not w[zero].any()


@pytest.mark.backend
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_compiling_again_keeps_masks_and_threshold(half, optimizer):
    masks = [to_numpy(m) for m in group(half).masks]
    theta = to_numpy(group(half).threshold)
    kept = to_numpy(group(half).counts)
    assert theta[0] > 0.02
    half.compile(optimizer, "mse")
    ensure_pruning(half)
    for now, before in zip(group(half).masks, masks):
        np.testing.assert_array_equal(to_numpy(now), before)
    np.testing.assert_array_equal(to_numpy(group(half).threshold), theta)
    np.testing.assert_array_equal(to_numpy(group(half).counts), kept)
    train(half, 1)
    for now, before in zip(group(half).masks, masks):
        assert not (to_numpy(now) & ~before).any()
    check_zeros(half)


@pytest.mark.backend
def test_a_kernel_that_was_pruned_as_a_whole_stays_so_when_compiled_again():
    model = make()
    ensure_pruning(model)
    model.layers[1].layer.kernel.assign(np.zeros((8, 3)))
    with pytest.warns(UserWarning, match="nothing is left of net/head/kernel"):
        train(model, 1)
    assert not to_numpy(group(model).masks[1]).any()
    model.compile("sgd", "mse")
    ensure_pruning(model)
    assert not to_numpy(group(model).masks[1]).any()


@pytest.mark.backend
@pytest.mark.parametrize("first", [True, False])
def test_checkpoints_are_sparse_wherever_the_callback_stands(first, tmp_path):
    model = tfshed.prune_low_magnitude(net(), schedule(), scope="global", threshold=0.0)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse", jit_compile="auto")
    saver = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
    update = tfshed.UpdatePruningStep()
    x, y = data(32)
    callbacks = [saver, update] if first else [update, saver]
    model.fit(x, y, batch_size=32, epochs=6, verbose=0, callbacks=callbacks)
    kept = []
    for epoch in range(1, 7):
        saved = kernels(keras.models.load_model(tmp_path / f"{epoch}.keras"))
        kept.append(sum(np.count_nonzero(w) for w in saved))
    assert kept == [72, 54, 54, 36, 36, 18]


@pytest.mark.backend
def test_state_is_written_once(half, tmp_path):
    import h5py

    half.save_weights(tmp_path / "m.weights.h5")
    sizes = []
    with h5py.File(tmp_path / "m.weights.h5") as f:
        f["optimizer"].visititems(
            lambda name, item: sizes.append(item.size) if hasattr(item, "size") else None
        )
    assert sum(sizes) == sum(to_numpy(v).size for v in half.optimizer.variables)
    assert sum(sizes) > 3 * 72


@pytest.mark.backend
def test_state_of_another_net_is_refused(half):
    config = half.optimizer.get_config()
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="other")])
    optimizer = tfshed.PruningOptimizer.from_config(config)
    with pytest.raises(ValueError, match=r"to be net/hidden/kernel \(6, 8\), found .*other/kernel"):
        optimizer.build(other.trainable_variables)


@pytest.mark.backend
@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_two_configurations_in_one_net(ending, tmp_path):
    first, second = net().layers
    model = keras.Sequential(
        [
            keras.Input((6,)),
            tfshed.prune_low_magnitude(first, tfshed.OneShot(0.5), threshold=0.0),
            tfshed.prune_low_magnitude(second, tfshed.OneShot(0.25), criterion="random"),
        ]
    )
    model.compile(keras.optimizers.SGD(0.01), keras.losses.MeanSquaredError())
    train(model, 2)
    model.save(tmp_path / f"m.{ending}")
    loaded = keras.models.load_model(tmp_path / f"m.{ending}")
    train(loaded, 1)
    train(model, 1)
    same(loaded, model)
    assert [int(to_numpy(g.masks[0]).sum()) for g in loaded.optimizer.groups] == [24, 18]


@pytest.mark.backend
def test_state_of_other_shapes_is_refused(half):
    optimizer = pruning_optimizer(half.optimizer)
    weights = [to_numpy(v) for v in optimizer.variables]
    with pytest.raises(ValueError, match="optimizer state: expected shapes"):
        optimizer.set_weights(weights[:-1])
