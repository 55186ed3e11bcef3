"""The handwritten digits that are a part of scikit-learn: real data without a download."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfshed.core.arguments import check_int
from tfshed.core.extras import need
from tfshed.datasets.image_data import ImageData
from tfshed.datasets.registry import Request, register

Arrays = tuple[np.ndarray, np.ndarray]

# 1440 images are left for training, which are 15 whole batches of 96.
TEST_SIZE = 357


def load_digits(
    test_size: int = TEST_SIZE, seed: int = 0, *, standardize: bool = False
) -> tuple[Arrays, Arrays]:
    """Loads 1797 grey images of 8x8 pixels in ten classes, split into training and test data.

    The split is random, with the same proportions of classes in both parts. It is not the published
    split, in which the writers are different, so accuracies are higher here.

    Args:
        test_size: The number of test images, from 10 to 1787. Default 357.
        seed: The seed of the split, an int >= 0. Default 0.
        standardize: Whether to subtract the mean of all training images and divide by their
            standard deviation. Default False: pixels are in [0, 1].

    Returns:
        `(x_train, y_train), (x_test, y_test)` like Keras' own data sets: x is float32 of shape
        (images, 8, 8, 1), y is int32 of shape (images,).

    Raises:
        ValueError: `test_size` or `seed` is out of its range.

    >>> from tfshed import datasets
    >>> (x_train, y_train), (x_test, y_test) = datasets.load_digits()
    >>> x_train.shape, x_test.shape
    ((1440, 8, 8, 1), (357, 8, 8, 1))

    Source: the test data of Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI
    Machine Learning Repository, 1998.
    """
    check_int("test_size", test_size, 10, 1787)
    check_int("seed", seed, 0, 2**32 - 1)
    # It is imported here, since importing scikit-learn takes a second.
    datasets = need("sklearn.datasets", "The data set of digits")
    model_selection = need("sklearn.model_selection", "The data set of digits")

    data: Any = datasets.load_digits()
    x = (data.images / 16.0).astype("float32")[..., np.newaxis]
    y = data.target.astype("int32")
    x_train, x_test, y_train, y_test = model_selection.train_test_split(
        x, y, test_size=test_size, random_state=seed, stratify=y
    )
    if standardize:
        mean, deviation = x_train.mean(), x_train.std()
        x_train, x_test = (x_train - mean) / deviation, (x_test - mean) / deviation
    return (x_train, y_train), (x_test, y_test)


@register("digits")
def digits_data(request: Request) -> ImageData:
    """The digits of `load_digits()` as `ImageData`.

    The values 0 to 16 are scaled to 0 to 255 and rounded. Divided by 255, they differ from those of
    `load_digits` by at most 1/510.
    """
    from tfshed.datasets.npz import in_memory

    train, test = ((np.rint(x * 255).astype(np.uint8), y) for x, y in load_digits())
    return in_memory(request.name, 10, {"train": train, "test": test}, request.image_size)
