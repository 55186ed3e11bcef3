"""tfshed.datasets.ImageData: what training and evaluation are given, of every kind of source."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import generated
from tests.datasets.conftest import KINDS
from tfshed import datasets

# One kind of each class of source: arrays, image files, records.
SOURCES = ("npz", "folder", "imagenet2012")
# Small enough for two epochs of a few batches.
BATCH = {"digits": 360, "npz": 12, "cifar10": 12, "folder in memory": 8, "folder": 8}


def batches(dataset):
    found = [(x.numpy(), y.numpy()) for x, y in dataset]
    for images, labels in found:
        assert images.dtype == np.uint8 and labels.dtype == np.int32
    return found


def train(data, kind, **options):
    options = {"seed": 3, "epochs": 2, **options}
    size = BATCH.get(kind, 12)
    return batches(data.train(size, **options)), data.steps_per_epoch(size)


def same(some, others):
    assert len(some) == len(others)
    for (x, y), (x2, y2) in zip(some, others):
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(y, y2)


def contents(found):
    """Each image with its label, as something that can be counted."""
    return [(x.tobytes(), int(y)) for images, labels in found for x, y in zip(images, labels)]


@pytest.mark.parametrize("kind", KINDS)
def test_batches_after_a_restart_are_those_of_the_unbroken_run(load, kind):
    data = load(kind)
    whole, steps = train(data, kind, augmentation="crop_flip")
    assert len(whole) == 2 * steps and steps >= 3
    assert {x.shape for x, _ in whole} == {(len(whole[0][1]), *data.image_shape)}
    for start in (1, steps, 2 * steps):
        # Another seed of the process, as after any number of other operations.
        tf.random.set_seed(start)
        rest, _ = train(data, kind, augmentation="crop_flip", start_step=start)
        same(rest, whole[start:])


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("augmentation", ["none", "flip", "pad_crop_flip"])
def test_every_augmentation_resumes_and_is_drawn_anew_each_epoch(load, kind, augmentation):
    data = load(kind)
    whole, steps = train(data, kind, augmentation=augmentation)
    rest, _ = train(data, kind, augmentation=augmentation, start_step=steps + 1)
    same(rest, whole[steps + 1 :])
    first, second = (set(contents(whole[i * steps : (i + 1) * steps])) for i in (0, 1))
    seen = set(contents(batches(data.evaluation(100, split="train"))))
    if augmentation == "none":
        assert first <= seen and second <= seen
        assert len(first) > 0.9 * steps * len(whole[0][1])
    else:
        # Of two flips one in four looks the same both times; of 81 places far fewer.
        assert len(first & second) < 0.8 * len(first)
        assert first - seen


@pytest.mark.parametrize("kind", SOURCES)
def test_order_follows_seed_and_epoch(load, kind):
    data = load(kind)
    whole, steps = train(data, kind)
    other, _ = train(data, kind, seed=4)
    orders = [contents(part) for part in (whole[:steps], whole[steps:], other[:steps])]
    assert orders[0] != orders[1] and orders[0] != orders[2]
    if data.examples["train"] % len(whole[0][1]) == 0:
        assert sorted(orders[0]) == sorted(orders[1]) == sorted(orders[2])


@pytest.mark.parametrize("kind", ["npz", "folder"])
def test_workers_have_slices_of_the_batches_of_one(load, kind):
    data = load(kind)
    whole, _ = train(data, kind, augmentation="crop_flip", start_step=1)
    workers = [
        train(data, kind, augmentation="crop_flip", start_step=1, shard=(i, 4))[0] for i in range(4)
    ]
    together = [tuple(map(np.concatenate, zip(*parts))) for parts in zip(*workers)]
    same(together, whole)


@pytest.mark.parametrize(("kind", "count"), [("imagenet2012", 4), ("tfrecords", 2)])
def test_workers_share_the_records(load, kind, count):
    data = load(kind)
    # 48 records in three files: two workers meet inside a file, four have less than one each.
    whole, steps = train(data, kind, augmentation="crop_flip")
    workers = [
        train(data, kind, augmentation="crop_flip", shard=(i, count))[0] for i in range(count)
    ]
    assert [len(found) for found in workers] == [2 * steps] * count
    for epoch in (slice(0, steps), slice(steps, None)):
        together = [item for found in workers for item in contents(found[epoch])]
        assert sorted(together) == sorted(contents(whole[epoch]))


def test_a_worker_of_a_stream_resumes(load):
    data = load("imagenet2012")
    options = {"augmentation": "crop_flip", "shard": (1, 3)}
    whole, steps = train(data, "imagenet2012", **options)
    rest, _ = train(data, "imagenet2012", start_step=steps + 1, **options)
    same(rest, whole[steps + 1 :])


@pytest.mark.parametrize("kind", ["npz", "folder", "tfrecords"])
def test_equal_images_are_cropped_each_in_its_own_way(tmp_path, kind):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8)
    if kind == "npz":
        x, y = np.stack([pixels] * 16), np.arange(16) % 2
        np.savez(tmp_path / "equal.npz", x_train=x, y_train=y, x_test=x, y_test=y)
        data = datasets.load(f"npz:{tmp_path / 'equal.npz'}", image_size=8)
    elif kind == "folder":
        generated.folder(tmp_path, train=16, evaluation=3)
        for path in tmp_path.rglob("*.JPEG"):
            path.write_bytes(generated.encoded(pixels))
        data = datasets.load(f"folder:{tmp_path}", image_size=8)
    else:
        record = generated.record(generated.encoded(pixels), 1)
        for name in ("train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001"):
            with tf.io.TFRecordWriter(str(tmp_path / name)) as writer:
                for _ in range(8):
                    writer.write(record)
        data = datasets.load(f"tfrecords:{tmp_path}", image_size=8)
    found = batches(data.train(8, seed=0, epochs=2, augmentation="crop_flip"))
    assert len({x for x, _ in contents(found)}) == 32


@pytest.mark.parametrize("kind", SOURCES)
def test_evaluation_has_each_example_once_and_in_order(load, kind):
    data = load(kind)
    total = data.examples[data.eval_split]
    size = (total - 1) // 2
    whole = batches(data.evaluation(size))
    assert [len(y) for _, y in whole] == [size, size, total - 2 * size]
    same(whole, batches(data.evaluation(size)))
    workers = [contents(batches(data.evaluation(9, shard=(i, 3)))) for i in range(3)]
    assert sum(workers, []) == contents(whole)
    assert max(map(len, workers)) - min(map(len, workers)) <= 1


@pytest.mark.parametrize("kind", SOURCES)
def test_a_fraction_is_the_same_part_whatever_the_seed(load, kind):
    data = load(kind)
    everything = contents(batches(data.evaluation(100, split="train")))
    part = contents(batches(data.evaluation(100, split="train", fraction=0.5)))
    assert len(part) == data.examples["train"] // 2 and set(part) < set(everything)
    size = len(part) // 2
    for seed in (0, 1):
        assert data.steps_per_epoch(size, 0.5) == 2
        found = batches(data.train(size, seed=seed, epochs=1, fraction=0.5))
        assert sorted(contents(found)) == sorted(part)
    if kind != "imagenet2012":
        counts = [np.bincount([y for _, y in items]) for items in (everything, part)]
        assert np.abs(counts[0] / 2 - counts[1]).max() <= 1


def test_more_workers_than_records_in_evaluation(load):
    data = load("imagenet2012")
    found = [batches(data.evaluation(3, shard=(i, 3), fraction=0.1)) for i in range(3)]
    assert [sum(len(y) for _, y in part) for part in found] == [0, 1, 1]


def test_data_to_evaluate_on_only(load):
    data = load("imagenet_v2")
    assert (data.train_split, data.eval_split) == (None, "test")
    assert data.classes == 1000 and data.examples == {"test": 20}
    assert sum(len(y) for _, y in batches(data.evaluation(8))) == 20
    with pytest.raises(ValueError, match="imagenet_v2: expected data to train on"):
        data.train(4, seed=0, epochs=1)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"batch_size": 0}, "batch_size: expected a whole number >= 1"),
        ({"batch_size": 41}, "batch_size: expected at most 40, .* received 41"),
        ({"batch_size": 12, "fraction": 0.2}, "expected at most 8, .* fraction=0.2 .of 40."),
        ({"batch_size": 10, "shard": (0, 4)}, "a multiple of the 4 workers, received 10. Use 8"),
        ({"shard": (4, 4)}, "shard.0.: expected a whole number from 0 to 3, received 4"),
        ({"shard": 1}, r"shard: expected \(index, count\)"),
        ({"seed": -1}, "seed: expected"),
        ({"epochs": 0}, "epochs: expected"),
        ({"start_step": 11}, "start_step: expected a whole number from 0 to 10, received 11"),
        ({"fraction": 0.0}, "fraction: expected a number above 0"),
        ({"augmentation": "crop_flips"}, "received 'crop_flips'. Did you mean 'crop_flip'"),
    ],
)
def test_refuses(load, wrong, text):
    options = {"batch_size": 8, "seed": 0, "epochs": 2, **wrong}
    with pytest.raises(ValueError, match=text):
        load("npz").train(**options)


def test_refuses_an_unknown_split(load):
    with pytest.raises(ValueError, match="split: expected one of train, test, received 'tset'"):
        load("npz").evaluation(8, split="tset")


@pytest.mark.backend
def test_keras_fits_on_every_backend():
    data = datasets.load("digits")
    net = keras.Sequential(
        [
            keras.Input(data.image_shape),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(data.classes),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    net.fit(data.train(96, seed=0, epochs=6), shuffle=False, verbose=0)
    assert net.evaluate(data.evaluation(96), verbose=0, return_dict=True)["accuracy"] > 0.8
