"""Checks of the model and the path that an export is given, and fewer messages of TensorFlow."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tfshed.attach.keras3.private import layers_if_any
from tfshed.attach.which_keras import is_tf_keras


def check_model(model: Any, input_signature: Any) -> None:
    """Raises an error unless a model can be exported through TensorFlow.

    Raises:
        TypeError: It is no Keras model.
        RuntimeError: Keras' backend is PyTorch.
        ValueError: It is not built and `input_signature` is None, or pruning wrappers are in it.
    """
    import keras

    backend = keras.backend.backend()
    if not (isinstance(model, keras.Model) or is_tf_keras(model)):
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        raise TypeError(
            f"export: expected a keras.Model of Keras 3 or a tf_keras.Model, received {kind}. "
            "Wrap a layer in keras.Sequential([keras.Input(shape), layer])."
        )
    if isinstance(model, keras.Model) and backend not in ("tensorflow", "jax"):
        raise RuntimeError(
            f"export: expected Keras' TensorFlow or JAX backend, received {backend!r}, whose "
            "operations a SavedModel cannot hold. Save the model with model.save('model.keras'), "
            "then load and export it in a process started with KERAS_BACKEND=tensorflow."
        )
    # If a signature is given, the export builds the model by calling it on such inputs.
    if not model.built and input_signature is None:
        raise ValueError(
            f"export: expected a built model, received {model.name!r}, which has no weights yet. "
            "Call it on a batch or give it a keras.Input first."
        )
    check_unwrapped(model)


def check_unwrapped(model: Any) -> None:
    """Raises a ValueError for a model of Keras 3 or tf_keras that has pruning wrappers.

    An exported wrapper would bring its masks along as further variables and operations: the file
    would be larger than without pruning.
    """
    for layer in layers_if_any(model):
        if any(base.__name__ == "PruneLowMagnitude" for base in type(layer).__mro__):
            raise ValueError(
                f"export: expected a model without pruning wrappers, received {layer.name!r}. "
                "Call tfshed.strip_pruning(model) and export what it returns."
            )


def local_path(path: str | os.PathLike[str]) -> Path:
    """The path as a `Path`; raises a ValueError for a remote one, such as "gs://bucket/model"."""
    if "://" in os.fspath(path):
        raise ValueError(
            f"export: expected a local path, received {os.fspath(path)!r}. Export to a local "
            "folder and copy it with tf.io.gfile or the storage's own tool."
        )
    return Path(path)


@contextmanager
def quiet() -> Iterator[None]:
    """Hides TensorFlow's messages on what it wrote where, within the block; warnings are shown."""
    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl")]
    levels = [logger.level for logger in loggers]
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
