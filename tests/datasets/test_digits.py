"""tfshed.datasets.load_digits: shapes, ranges, the split and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from tfshed import datasets


def test_shapes_types_and_range():
    (x_train, y_train), (x_test, y_test) = datasets.load_digits()
    assert (x_train.shape, y_train.shape) == ((1440, 8, 8, 1), (1440,))
    assert (x_test.shape, y_test.shape) == ((357, 8, 8, 1), (357,))
    assert {x.dtype for x in (x_train, x_test)} == {np.dtype("float32")}
    assert {y.dtype for y in (y_train, y_test)} == {np.dtype("int32")}
    assert (x_train.min(), x_train.max()) == (0.0, 1.0)
    assert set(y_train) == set(y_test) == set(range(10))


def test_the_split_is_of_all_images_and_follows_the_seed():
    def whole(seed):
        (x_train, _), (x_test, _) = datasets.load_digits(seed=seed)
        return x_train, np.concatenate([x_train, x_test]).reshape(1797, 64)

    first, images = whole(0)
    again, _ = whole(0)
    other, other_images = whole(1)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    # The same images, whatever the seed: none is in both parts more often than in the data.
    order = np.lexsort(images.T), np.lexsort(other_images.T)
    np.testing.assert_array_equal(images[order[0]], other_images[order[1]])


def test_each_class_has_its_proportion_in_both_parts():
    (_, y_train), (_, y_test) = datasets.load_digits()
    shares = [np.bincount(y) / len(y) for y in (y_train, y_test)]
    np.testing.assert_allclose(*shares, atol=0.005)


def test_standardized_by_the_training_images():
    (x_train, _), (x_test, _) = datasets.load_digits(standardize=True)
    assert x_train.dtype == x_test.dtype == np.float32
    assert x_train.mean() == pytest.approx(0, abs=1e-4)
    assert x_train.std() == pytest.approx(1, abs=1e-4)
    assert x_test.mean() != pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("test_size", [9, 1788, 0.2, True, None])
def test_refuses_a_size_that_leaves_a_class_out(test_size):
    with pytest.raises(ValueError, match="test_size: expected a whole number from 10 to 1787"):
        datasets.load_digits(test_size)


def test_refuses_a_negative_seed():
    with pytest.raises(ValueError, match="seed: expected a whole number from 0"):
        datasets.load_digits(seed=-1)


def test_the_smallest_and_the_largest_size_work():
    for size in (10, 1787):
        (x_train, y_train), (x_test, y_test) = datasets.load_digits(size)
        assert len(x_test) == size and len(x_train) == 1797 - size
        assert len(set(y_train)) == len(set(y_test)) == 10
