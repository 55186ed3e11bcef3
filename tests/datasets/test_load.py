"""tfshed.datasets.load: names, missing and broken data, and what explain() finds."""

from __future__ import annotations

import io
import json
import re
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from tests import generated
from tfshed import datasets
from tfshed.datasets import npz
from tfshed.datasets.npz import in_memory


def test_what_the_kinds_look_like(load):
    found = {
        kind: (load(kind).classes, load(kind).image_shape, load(kind).examples)
        for kind in ("digits", "npz", "cifar10", "folder in memory", "imagenet2012")
    }
    assert found == {
        "digits": (10, (8, 8, 1), {"train": 1440, "test": 357}),
        "npz": (5, (12, 10, 1), {"train": 40, "test": 15}),
        "cifar10": (10, (32, 32, 3), {"train": 40, "test": 20}),
        "folder in memory": (3, (20, 20, 3), {"train": 24, "val": 12}),
        "imagenet2012": (1000, (16, 16, 3), {"train": 48, "validation": 20}),
    }
    assert load("folder in memory").eval_split == "val"


def test_digits_keep_their_17_values():
    (x_train, y_train), _ = datasets.load_digits()
    found = list(datasets.load("digits").evaluation(2000, split="train"))
    images, labels = (part.numpy() for part in found[0])
    assert len(np.unique(images)) == 17 and (images.min(), images.max()) == (0, 255)
    np.testing.assert_array_equal(np.rint(images / 255 * 16), x_train * 16)
    np.testing.assert_array_equal(labels, y_train)


def test_labels_and_images_stay_together(load):
    for kind in ("imagenet2012", "cifar10", "tfrecords", "folder"):
        data = load(kind)
        for images, labels in data.train(8, seed=0, epochs=1, augmentation="flip"):
            for image, label in zip(images.numpy(), labels.numpy()):
                # The colour of a generated image tells its class.
                colour = np.random.default_rng(label).integers(64, 192, 3)
                assert np.abs(image.mean((0, 1)) - colour).max() < 45


@pytest.mark.parametrize("kind", ["cifar10", "folder in memory"])
def test_streamed_data_are_those_in_memory(places, load, kind):
    held, streamed = load(kind), datasets.load(**places[kind], cache=False)
    assert type(streamed._sources["train"]) is not type(held._sources["train"])
    assert streamed.image_shape == held.image_shape
    for one, two in zip(held.evaluation(7), streamed.evaluation(7), strict=True):
        for some, others in zip(one, two):
            np.testing.assert_array_equal(some, others)


def test_arrays_are_resized_whole(load, places):
    native = next(iter(load("cifar10").evaluation(20)))[0]
    small = next(iter(datasets.load(**places["cifar10"], image_size=16).evaluation(20)))[0]
    expected = tf.image.resize(native, (16, 16)).numpy()
    assert small.shape == (20, 16, 16, 3)
    assert np.abs(small.numpy() - expected).max() <= 0.5001


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"name": "cifar1"}, "received 'cifar1'. Did you mean 'cifar10'"),
        ({"name": "nothing at all"}, "expected one of 'digits', .*'folder:PATH', .*'imagenet2012'"),
        ({"name": "folder:"}, "name: expected folder:PATH"),
        ({"name": "digits", "image_size": 0}, "image_size: expected"),
        ({"name": "digits", "image_size": True}, "image_size: expected"),
        ({"name": "digits", "cache": "yes"}, "cache: expected"),
    ],
)
def test_refuses(options, text):
    with pytest.raises(ValueError, match=text):
        datasets.load(**options)


def test_data_that_are_not_there(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError) as error:
        datasets.load("imagenet2012", data_dir=tmp_path)
    for part in (
        f"data_dir={tmp_path}",
        "dataset_info.json",
        f"tfds build imagenet2012 --data_dir={tmp_path}",
        "ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar",
        str(tmp_path / "downloads" / "manual"),
    ):
        assert part in str(error.value)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "own"))
    with pytest.raises(FileNotFoundError, match=f"tfds build cifar10 --data_dir={tmp_path}/own"):
        datasets.load("cifar10")
    for name in ("folder:/no/such", "tfrecords:/no/such", "npz:/no/such.npz", "/no/such.npz"):
        with pytest.raises(FileNotFoundError, match="expected a f.* /no/such.*, found none"):
            datasets.load(name)


def test_another_configuration_is_named(tmp_path):
    folder = generated.imagenet(tmp_path, name="imagenet_v2")
    folder.parent.rename(folder.parent.parent / "topimages")
    with pytest.raises(FileNotFoundError, match="There is imagenet_v2/topimages"):
        datasets.load("imagenet_v2", data_dir=tmp_path)
    assert datasets.load("imagenet_v2/topimages", data_dir=tmp_path).examples == {"test": 20}


def test_files_to_evaluate_on_only(tmp_path):
    generated.folder(tmp_path / "folder", train=0, evaluation_split="test")
    generated.tfrecords(tmp_path / "records", train=0)
    for kind, split in (("folder", "test"), ("records", "validation")):
        prefix = "folder" if kind == "folder" else "tfrecords"
        data = datasets.load(f"{prefix}:{tmp_path / kind}")
        assert (data.train_split, data.eval_split, list(data.examples)) == (None, split, [split])
        with pytest.raises(ValueError, match="expected data to train on"):
            data.steps_per_epoch(4)


def test_prepared_data_in_another_format_or_not_whole(tmp_path):
    folder = generated.imagenet(tmp_path, train=6)
    gone = next(folder.glob("*train*00001-of*"))
    content = gone.read_bytes()
    gone.unlink()
    with pytest.raises(FileNotFoundError, match=f"1 are missing, the first one is {gone}"):
        datasets.load("imagenet2012", data_dir=tmp_path)
    gone.write_bytes(content)
    with pytest.raises(ValueError, match="cache=True: expected data of one image size"):
        datasets.load("imagenet2012", data_dir=tmp_path, cache=True)
    info = folder / "dataset_info.json"
    info.write_text(json.dumps({**json.loads(info.read_text()), "fileFormat": "array_record"}))
    with pytest.raises(ValueError, match="expected TFRecord files, found array_record.*tfds build"):
        datasets.load("imagenet2012", data_dir=tmp_path)


def test_folders_that_are_not_as_they_should_be(tmp_path):
    def check(text, **options):
        with pytest.raises(ValueError, match=text):
            datasets.load(f"folder:{tmp_path}", **options)

    check("expected a folder validation, val or test, found nothing")
    (tmp_path / "val").mkdir()
    check("val: expected a folder for each class, found none")
    generated.folder(tmp_path, evaluation_split="val")
    check("cache=True: expected images of one size .* found several sizes", cache=True)
    extra = tmp_path / "val" / "dog"
    extra.mkdir()
    check("expected the classes of the training images only, found also dog")
    (tmp_path / "train" / "dog").mkdir()
    (tmp_path / "train" / "dog" / "notes.txt").touch()
    check("train/dog: expected images, found none among its 1 files")
    (tmp_path / "train" / "dog" / "dog.tiff").touch()
    check("dog.tiff: expected .jpg, .* cannot be decoded")
    (tmp_path / "train" / "dog" / "dog.tiff").unlink()
    (tmp_path / "train" / "ant" / "0.png").write_bytes(b"no image")
    check("train/dog: expected images")
    (tmp_path / "train" / "dog" / "notes.txt").unlink()
    (tmp_path / "train" / "dog").rmdir()
    extra.rmdir()
    check("0.png: not an image that can be read")


GOOD = {
    "x_train": np.zeros((4, 3, 3), np.uint8),
    "y_train": np.arange(4),
    "x_test": np.zeros((2, 3, 3), np.uint8),
    "y_test": np.arange(2),
}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"x_test": None}, "found x_train, y_train, y_test: x_test missing"),
        ({"x_train": np.zeros((4, 3, 3))}, "x_train expected as uint8, found float64"),
        ({"x_train": np.zeros((4, 9), np.uint8)}, r"x_train expected as \(n, .* found \(4, 9\)"),
        ({"y_train": np.arange(3)}, r"y_train expected as \(4,\), .* found \(3,\)"),
        ({"y_train": np.array([0.0, 1, 2, 3])}, "y_train expected as integers, found float64"),
        ({"y_train": np.array([0, 1, -2, 3])}, "y_train expected from 0 up, found -2 at 2"),
        ({"y_test": np.array([0, 9])}, "labels in y_test up to 3, .* found 9"),
        ({"x_test": np.zeros((2, 3, 4), np.uint8)}, "one shape in x_train and x_test"),
        (
            {"y_train": np.array([0, "a", None, 1], object)},
            "y_train expected as .* .Object arrays cannot be",
        ),
    ],
)
def test_arrays_that_are_not_as_they_should_be(tmp_path, change, text):
    path = tmp_path / "data.npz"
    np.savez(path, **{k: v for k, v in {**GOOD, **change}.items() if v is not None})
    with pytest.raises(ValueError, match=text):
        datasets.load(f"npz:{path}")


@pytest.mark.parametrize("content", [b"", b"something else"])
def test_a_file_that_is_no_npz(tmp_path, content):
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="expected a .npz file"):
        datasets.load(str(path))


def test_records_that_are_not_whole(tmp_path):
    generated.tfrecords(tmp_path, train=6)
    last = tmp_path / "train-00002-of-00003"
    content = last.read_bytes()
    last.write_bytes(content[:-3])
    with pytest.raises(ValueError, match=f"{last}: expected whole TFRecords .* record 1 cut off"):
        datasets.load(f"tfrecords:{tmp_path}")
    last.unlink()
    with pytest.raises(FileNotFoundError, match="the first one missing is train-00002-of-00003"):
        datasets.load(f"tfrecords:{tmp_path}")


def _fails(data, batch_size=4):
    """What explain() makes of the error that training on the data ends with."""
    with pytest.raises(tf.errors.OpError) as error:
        for _ in data.train(batch_size, seed=0, epochs=1):
            pass
    # As it comes out of a training loop that raises something of its own.
    outer = RuntimeError("training stopped")
    outer.__cause__ = error.value
    return data.explain(outer), str(error.value)


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (
            lambda good: generated.record(good[:120], 5),
            "train-00001-of-00002, record 7: jpeg[^{}]*JPEG[^{}]* Write this file again",
        ),
        (
            lambda good: generated.record(good, 1001),
            "train-00001-of-00002, record 7: expected a label from 0 to 999, received 1000",
        ),
        (lambda good: b"", "train-00001-of-00002, record 7: .*image/"),
    ],
)
def test_a_bad_record_is_found(tmp_path, record, text):
    generated.tfrecords(tmp_path, train=16, files=2)
    path = tmp_path / "train-00001-of-00002"
    good = [bytes(r.numpy()) for r in tf.data.TFRecordDataset(str(path))]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for old in [*good[:3], *good[4:]]:
            writer.write(old)
        image = tf.train.Example.FromString(good[3]).features.feature["image/encoded"]
        writer.write(record(image.bytes_list.value[0]))
    data = datasets.load(f"tfrecords:{tmp_path}", image_size=8)
    found, message = _fails(data)
    assert found.startswith(f"{data.name}, split train:\n") and re.search(text, found)
    if "label" in text:
        assert "expected a label from 0 to 999, received" in message and "in record" in message
    assert data.explain(ValueError("another matter")) is None
    # Batches left out are not decoded: a run that starts behind the bad one ends well.
    read = 0
    with pytest.raises(tf.errors.OpError):
        for _ in data.train(4, seed=1, epochs=1):
            read += 1
    assert read < 3
    assert len(list(data.train(4, seed=1, epochs=1, start_step=read + 1))) == 3 - read


def test_prepared_files_that_change_under_way(tmp_path):
    folder = generated.imagenet(tmp_path, train=8, files=2)
    data = datasets.load("imagenet2012", data_dir=tmp_path, image_size=8)
    assert data.explain(tf.errors.DataLossError(None, None, "of something else")) is None
    first, second = sorted(folder.glob("*train*"))
    good = first.read_bytes()
    # A byte within the first record; a record less.
    first.write_bytes(good[:99] + bytes([good[99] ^ 255]) + good[100:])
    records = [bytes(r.numpy()) for r in tf.data.TFRecordDataset(str(second))]
    with tf.io.TFRecordWriter(str(second)) as writer:
        for record in records[:-1]:
            writer.write(record)
    found, _ = _fails(data)
    assert f"{first}: cannot be read from record 0 on" in found
    assert f"{second}: expected 4 records, found 3" in found
    assert f"tfds build imagenet2012 --data_dir={tmp_path} --overwrite" in found
    first.write_bytes(good)
    # Nor does a shorter file pass where the rest of an epoch would make up for it.
    found, _ = _fails(data, batch_size=3)
    assert "expected 4 records, found 3" in found and str(first) not in found


def test_a_broken_file_in_a_folder_is_found(tmp_path):
    generated.folder(tmp_path)
    files = sorted((tmp_path / "train" / "bee").iterdir())
    data = datasets.load(f"folder:{tmp_path}", image_size=8)
    files[1].write_bytes(files[1].read_bytes()[:200])
    files[2].unlink()
    found, _ = _fails(data)
    assert found.count("\n") == 2
    assert all(f"{path}: not an image that can be decoded" in found for path in files[1:3])


def test_a_broken_image_of_data_in_memory_is_named(tmp_path):
    generated.folder(tmp_path, sizes=(20, 20), suffix=".png")
    broken = sorted((tmp_path / "train" / "cat").iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:200])
    data = datasets.load(f"folder:{tmp_path}")
    with pytest.raises(ValueError, match=f"{broken}: not an image that can be decoded"):
        data.train(4, seed=0, epochs=1)


def test_data_are_added_in_one_place():
    """By one function under a decorator: `load`, and so recipes and the command line, know it."""

    @datasets.register("stripes")
    def stripes(request):
        images = np.arange(36, dtype=np.uint8).reshape(9, 2, 2, 1)
        labels = np.arange(9, dtype=np.int32) % 3
        parts = {"train": (images[:6], labels[:6]), "test": (images[6:], labels[6:])}
        return in_memory(request.name, 3, parts, request.image_size)

    @datasets.register("stripes:PATH")
    def stripes_in(request):
        assert request.path == "a/b:c.npz" and request.data_dir == "d"
        return stripes(request)

    found = datasets.load("stripes")
    assert found.classes == 3 and found.steps_per_epoch(2) == 3
    assert datasets.load("stripes:a/b:c.npz", data_dir="d").name == "stripes:a/b:c.npz"
    with pytest.raises(ValueError, match=r"'stripes'.* received 'strips'. Did you mean 'stripes'"):
        datasets.load("strips")
    with pytest.raises(ValueError, match="name: expected one of .* received 'digits/small'"):
        datasets.load("digits/small")
    with pytest.raises(ValueError, match="expected a name that is free, received 'digits'"):
        datasets.register("digits")(stripes)


def pack(path, **changed):
    """A small `.npz` of images, with some arrays written as the given bytes instead."""
    images, labels = np.zeros((4, 8, 8), "uint8"), np.arange(4) % 2
    arrays = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            held = io.BytesIO()
            np.save(held, array)
            archive.writestr(f"{name}.npy", changed.get(name, held.getvalue()))


def test_a_file_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    pack(tmp_path / "good.npz")
    assert datasets.load(f"npz:{tmp_path / 'good.npz'}").examples == {"train": 4, "test": 4}
    # Zeros are compressed a thousand times.
    monkeypatch.setattr(npz, "LARGE", 10**6)
    held = io.BytesIO()
    np.save(held, np.zeros((20, 400, 400), "uint8"))
    pack(tmp_path / "bomb.npz", x_train=held.getvalue())
    with pytest.raises(ValueError, match="x_train .*expected at most 200 times its .* bytes"):
        datasets.load(f"npz:{tmp_path / 'bomb.npz'}")
    # A header alone makes NumPy ask for a terabyte.
    held = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (10**6, 1000, 1000)}
    np.lib.format.write_array_header_1_0(held, header)
    pack(tmp_path / "header.npz", x_test=held.getvalue() + bytes(100))
    with pytest.raises(ValueError, match="x_test .*expected 1,000,000,000,000 bytes for shape"):
        datasets.load(f"npz:{tmp_path / 'header.npz'}")
