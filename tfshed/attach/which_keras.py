"""Which Keras an object belongs to, found out without importing the other one."""

from __future__ import annotations

from typing import Any


def is_tf_keras(x: Any) -> bool:
    """Whether this is an object of tf_keras (Keras 2), or a list with one in it.

    >>> import keras
    >>> is_tf_keras(keras.layers.Dense(1)), is_tf_keras([3])
    (False, False)
    """
    if isinstance(x, (list, tuple)):
        return any(is_tf_keras(each) for each in x)
    return any(base.__module__.split(".")[0] == "tf_keras" for base in type(x).__mro__)
