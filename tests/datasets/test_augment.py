"""Order, augmentation and decoding: the functions below ImageData, against plain NumPy."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests import generated
from tfshed.datasets import reading_plan
from tfshed.datasets.tf_data import augment, example_order
from tfshed.datasets.tf_data.decoding import Decoder


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=60),
    st.floats(0.01, 1.0),
)
def test_a_subset_has_its_share_of_each_class(labels, fraction):
    labels = np.array(labels)
    chosen = reading_plan.subset(labels, fraction)
    assert len(chosen) == len(set(chosen)) == reading_plan.share(len(labels), fraction)
    assert (np.diff(chosen) > 0).all() and chosen.min() >= 0 and chosen.max() < len(labels)
    exact = np.bincount(labels) * len(chosen) / len(labels)
    assert np.abs(np.bincount(labels[chosen], minlength=len(exact)) - exact).max() <= 1


@given(st.integers(0, 1000), st.integers(1, 40))
def test_workers_split_without_gap_and_overlap(size, count):
    parts = [reading_plan.part(size, (i, count)) for i in range(count)]
    assert parts[0][0] == 0 and parts[-1][1] == size
    assert all(one[1] == two[0] for one, two in zip(parts, parts[1:]))
    assert {high - low for low, high in parts} <= {size // count, size // count + 1}


def test_pad_crop_flip_is_a_window_of_the_padded_image():
    rng = np.random.default_rng(0)
    images = rng.integers(1, 256, (64, 6, 5, 3), np.uint8)
    draws = rng.random((64, 3)).astype("float32")
    draws[0], draws[1] = 0.0, np.nextafter(np.float32(1), np.float32(0))
    found = augment.pad_crop_flip(tf.constant(images), tf.constant(draws)).numpy()
    for image, (down, right, mirrored), result in zip(images, draws, found):
        padded = np.pad(image, [(4, 4), (4, 4), (0, 0)])
        top, left = int(down * 9), int(right * 9)
        expected = padded[top : top + 6, left : left + 5]
        np.testing.assert_array_equal(result, expected[:, ::-1] if mirrored < 0.5 else expected)


def test_crop_windows_have_the_area_and_ratio_asked_for():
    numbers = tf.data.Dataset.range(600)
    windows = numbers.map(lambda i: augment.crop_window(300, 400, tf.stack([i, i]))).batch(600)
    windows = next(iter(windows)).numpy()
    top, left, height, width = windows.T
    assert (windows >= 0).all() and (top + height <= 300).all() and (left + width <= 400).all()
    area, ratio = height * width / (300 * 400), width / height
    # To whole pixels.
    assert 0.078 < area.min() < 0.1 and 0.8 < area.max() <= 1
    assert 0.73 < ratio.min() < 0.8 and 1.25 < ratio.max() < 1.36
    assert len(np.unique(windows, axis=0)) > 590


def test_crop_resize_cuts_what_crop_window_says():
    # A ramp of both coordinates: what was cut out can be read off the corners.
    ramp = np.stack(np.meshgrid(np.arange(40) * 5, np.arange(40) * 5), -1).astype(np.uint8)
    seeds = tf.stack([tf.fill([30], tf.constant(9, tf.int64)), tf.range(30, dtype=tf.int64)], 1)
    images = tf.constant(np.broadcast_to(ramp, (30, *ramp.shape)))
    found = augment.crop_resize(images, seeds, (12, 12)).numpy().astype(int)
    for seed, image in zip(seeds, found):
        top, left, height, width = augment.crop_window(40, 40, seed).numpy()
        assert abs(image[0, 0] - [left * 5, top * 5]).max() <= 1
        last = [(left + width - 1) * 5, (top + height - 1) * 5]
        assert abs(image[-1, -1] - last).max() <= 1


def _file(kind: str, mode: str) -> bytes:
    pixels = generated.image(np.random.default_rng(0), 3, 30, 24)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("JPEG", "RGB"),
        ("JPEG", "L"),
        ("JPEG", "CMYK"),
        ("PNG", "RGB"),
        ("PNG", "RGBA"),
        ("PNG", "L"),
        ("BMP", "RGB"),
        ("GIF", "P"),
        ("WEBP", "RGB"),
    ],
)
def test_files_of_every_kind_are_decoded(kind, mode):
    content = _file(kind, mode)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    whole = Decoder((30, 24, 3), whole=True).view(content).numpy()
    # Decoders of JPEG differ in rounding, and in CMYK by more.
    assert np.abs(whole - expected).mean() < (8 if mode == "CMYK" else 2)
    seed = tf.constant([1, 2], tf.int64)
    cropped = Decoder((8, 8, 3), whole=False).train(content, "crop_flip", seed)
    assert cropped.shape == (8, 8, 3) and cropped.dtype == tf.uint8


def test_the_centre_is_that_of_resizing_first():
    pixels = generated.image(np.random.default_rng(1), 5, 160, 240)
    found = Decoder((56, 56, 3), whole=False).view(generated.encoded(pixels, "PNG")).numpy()
    resized = tf.image.resize(pixels, (64, 96)).numpy()
    expected = resized[4:60, 20:76]
    assert np.abs(found - expected).max() < 4 and np.abs(found - expected).mean() < 0.6
    # And not that of something else.
    assert np.abs(found - resized[4:60, 16:72]).mean() > 2


def test_flips_have_nothing_to_do_with_windows():
    ramp = np.broadcast_to(np.arange(0, 240, 6, dtype=np.uint8)[None, :, None], (40, 40, 3))
    content = tf.constant(generated.encoded(np.ascontiguousarray(ramp), "PNG"))
    decoder = Decoder((4, 4, 3), whole=True)

    def one(number):
        seed = tf.stack([tf.constant(5, tf.int64), number])
        image = decoder.train(content, "crop_flip", seed)
        return image[0, 0, 0] > image[0, -1, 0], augment.crop_window(40, 40, seed)

    mirrored, windows = next(iter(tf.data.Dataset.range(400).map(one).batch(400)))
    top, left, height, width = windows.numpy().T
    assert 160 < mirrored.numpy().sum() < 240
    for other in (top, left, height * width, width / height):
        assert abs(np.corrcoef(mirrored.numpy(), other)[0, 1]) < 0.17


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**63 - 1), st.integers(0, 10**6))
def test_seeds_of_epochs_and_purposes_differ(seed, epoch):
    def numbers(*arguments):
        return tuple(tf.random.stateless_uniform([4], example_order.epoch_seed(*arguments)).numpy())

    found = {numbers(seed, e, p) for e in (epoch, epoch + 1) for p in (0, 1)}
    assert len(found) == 4
