"""`MaskSnapshots`: what it keeps, when, how large it is, and that it reads back to the bit."""

from __future__ import annotations

import logging
import os

import keras
import numpy as np
import pytest

import tfshed
from tests.nets import JIT, data, group, kernels, net, pruned
from tfshed.core.backend import to_numpy
from tfshed.observe.snapshot_file import (
    BIN_EDGES,
    KernelInfo,
    MaskSnapshot,
    magnitude_counts,
    packed_size,
    read_snapshots,
    snapshot_steps,
    write_kernels,
    write_snapshot,
)

pytestmark = pytest.mark.filterwarnings("ignore:the net has shed itself")


def train(model, *callbacks, epochs=3, **options):
    x, y = data(32)
    callbacks = [tfshed.UpdatePruningStep(), *callbacks]
    model.fit(
        x, y, batch_size=8, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks, **options
    )


@pytest.mark.backend
@pytest.mark.parametrize("observe", [False, True])
def test_the_last_snapshot_has_the_masks_and_weights_of_the_run(tmp_path, observe):
    model = pruned(keras.optimizers.SGD(0.01, momentum=0.9), observe=observe)
    train(model, tfshed.MaskSnapshots(tmp_path, weights=True))
    found = read_snapshots(tmp_path)
    assert [s.step for s in found] == [0, 4, 8, 12] and [s.epoch for s in found] == [0, 0, 1, 2]
    assert found[0].keep_ratio == 1.0 and found[-1].keep_ratio <= 0.25
    assert found[-1].target == 0.25
    for kept, mask in zip(found[-1].masks, group(model).masks, strict=True):
        np.testing.assert_array_equal(kept, to_numpy(mask))
    for weight, now in zip(found[-1].weights, kernels(model), strict=True):
        np.testing.assert_array_equal(weight, now)
    threshold = float(to_numpy(group(model).threshold)[0])
    np.testing.assert_array_equal(found[-1].thresholds, np.float32([threshold, threshold]))
    assert [k.shape for k in found[0].kernels] == [(6, 8), (8, 3)]
    assert found[-1].counts.sum(axis=1).tolist() == [48, 24]


@pytest.mark.backend
def test_at_updates_the_masks_are_those_right_after_them():
    model = pruned(keras.optimizers.SGD(1e-6), threshold=0.0)
    kept = tfshed.MaskSnapshots(every_epochs=0, every_updates=2)
    train(model, kept, epochs=3)
    # Updates are in step 1 (the one due before training), 2, 4 and 6.
    assert [(s.step, s.keep_ratio) for s in kept.snapshots] == [(2, 0.75), (6, 0.25)]
    every = tfshed.MaskSnapshots(every_epochs=0, every_updates=1)
    model = pruned(keras.optimizers.SGD(1e-6), threshold=0.0)
    train(model, every, epochs=3)
    found = [(s.step, s.keep_ratio) for s in every.snapshots]
    assert found == [(1, 1.0), (2, 0.75), (4, 0.5), (6, 0.25)]


def test_a_resumed_run_drops_what_was_later_and_a_new_one_begins_anew(tmp_path):
    model = pruned("sgd")
    train(model, tfshed.MaskSnapshots(tmp_path))
    write_snapshot(tmp_path, read_snapshots(tmp_path)[0])
    later = read_snapshots(tmp_path)[-1]
    write_snapshot(tmp_path, MaskSnapshot(**{**vars(later), "step": 99}))
    assert snapshot_steps(tmp_path)[-1] == 99
    train(model, tfshed.MaskSnapshots(tmp_path), epochs=1)
    assert snapshot_steps(tmp_path) == [0, 4, 8, 12, 16]
    train(pruned("sgd"), tfshed.MaskSnapshots(tmp_path), epochs=1)
    assert snapshot_steps(tmp_path) == [0, 4]


def test_its_size_is_said_and_true(tmp_path, caplog):
    model = tfshed.prune_low_magnitude(net(hidden=64), tfshed.OneShot(0.5, step=2))
    model.compile("sgd", "mse", jit_compile=JIT[0])
    kept = tfshed.MaskSnapshots(tmp_path)
    with caplog.at_level(logging.INFO, "tfshed"):
        train(model, kept, epochs=1)
    weights = 6 * 64 + 64 * 3
    assert kept.bytes_per_snapshot == weights // 8 + 2 * (8 * (len(BIN_EDGES) + 1) + 4)
    assert f"{kept.bytes_per_snapshot} bytes for {weights} weights" in caplog.text
    on_disk = os.path.getsize(tmp_path / "step-00000004.npz")
    assert kept.bytes_per_snapshot < on_disk < kept.bytes_per_snapshot + 8 * 300
    kernel = KernelInfo("k", (9, 3), (9, 3), (0, 1), None)
    more = packed_size([kernel], weights=True) - packed_size([kernel], weights=False)
    assert more == 4 * 27 and packed_size([kernel], False) == 4 + 8 * (len(BIN_EDGES) + 1) + 4


def test_blocks_are_kept_with_their_sizes(tmp_path):
    model = tfshed.prune_low_magnitude(net(), tfshed.OneShot(0.5, step=1), granularity="2x1")
    model.compile("sgd", "mse", jit_compile=JIT[0])
    train(model, tfshed.MaskSnapshots(tmp_path, weights=True), epochs=1)
    last = read_snapshots(tmp_path)[-1]
    assert [k.block for k in last.kernels] == [(2, 1), (2, 1)]
    assert [k.mask_shape for k in last.kernels] == [(3, 8), (4, 3)]
    for mask, weight in zip(last.masks, last.weights):
        np.testing.assert_array_equal(mask.repeat(2, 0), weight != 0)


def test_what_cannot_be_is_an_error(tmp_path):
    for options in ({"every_epochs": -1}, {"every_updates": 1.5}, {"every_epochs": 0}):
        with pytest.raises(ValueError, match="every_"):
            tfshed.MaskSnapshots(**options)
    with pytest.raises(FileNotFoundError, match="expected the snapshots of tfshed.MaskSnapshots"):
        read_snapshots(tmp_path)
    plain = net()
    plain.compile("sgd", "mse", jit_compile=JIT[0])
    x, y = data(8)
    with pytest.raises(ValueError, match="observe=True if no weight is to be pruned"):
        plain.fit(x, y, verbose=0, callbacks=[tfshed.MaskSnapshots()])
    write_kernels(tmp_path, [KernelInfo("k", (9,), (9,), (None, None), None)])
    (tmp_path / "step-00000001.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="expected a snapshot of the 1 kernels"):
        read_snapshots(tmp_path)


def test_every_magnitude_is_counted_in_its_bin():
    values = np.float32([0.0, 1e-20, 2.0**-40, 0.9, -1.0, 1.1, 2.0**8, np.inf, np.nan])
    counts = magnitude_counts(values)
    assert counts.sum() == values.size and counts[0] == 2 and counts[-1] == 3
    i = int(np.searchsorted(BIN_EDGES, 1.0, side="right"))
    assert counts[i] == 2 and counts[i - 1] == 1 and counts[1] == 1
