"""Handwritten digits that come with scikit-learn: real data without a download."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfshed.core.arguments import check_int
from tfshed.datasets.image_data import ImageData
from tfshed.datasets.registry import Request, register

Arrays = tuple[np.ndarray, np.ndarray]

# Leaves 1440 for training: 15 whole batches of 96.
TEST_SIZE = 357


def load_digits(
    test_size: int = TEST_SIZE, seed: int = 0, *, standardize: bool = False
) -> tuple[Arrays, Arrays]:
    """Loads 1797 grey images of 8x8 pixels in ten classes, split into training and test data.

    The split is drawn with `seed`, each class in its proportion. It is not the one by writers that
    the data were published with, so accuracies are higher here.

    Args:
        test_size: images to hold back, at least one of each class and no more than leave one
            of each class.
        seed: int >= 0, of the split.
        standardize: whether to take off the mean and divide by the standard deviation, one
            number each, of the training images. Otherwise pixels are in [0, 1].

    Returns:
        `(x_train, y_train), (x_test, y_test)` as Keras' own data sets; x float32 of shape
        (images, 8, 8, 1), y int32 of shape (images,).

    Raises:
        ValueError: `test_size` or `seed` is out of its range.

    >>> from tfshed import datasets
    >>> (x_train, y_train), (x_test, y_test) = datasets.load_digits()
    >>> x_train.shape, x_test.shape
    ((1440, 8, 8, 1), (357, 8, 8, 1))

    Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, 1998; the test part of it.
    """
    check_int("test_size", test_size, 10, 1787)
    check_int("seed", seed, 0, 2**32 - 1)
    # scikit-learn takes a second to import.
    from sklearn import datasets, model_selection

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

    Their values 0 to 16 are spread over 0 to 255 and rounded: 17 values still, and within 1/510 of
    those of `load_digits` when divided by 255.
    """
    from tfshed.datasets.npz import in_memory

    train, test = ((np.rint(x * 255).astype(np.uint8), y) for x, y in load_digits())
    return in_memory(request.name, 10, {"train": train, "test": test}, request.image_size)
