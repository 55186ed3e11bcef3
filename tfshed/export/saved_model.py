"""SavedModel: a model's forward pass for TensorFlow without Keras and without tfshed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tfshed.export._replace import replaced_folder
from tfshed.export._serving import serving_object
from tfshed.export._signature import as_arrays, input_specs, random_inputs
from tfshed.export._verify import verify_saved_model


def saved_model(
    model: Any,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    verify: bool = True,
    input_signature: Any = None,
) -> Path:
    """Writes the model's forward pass in inference mode as a TensorFlow SavedModel.

    `tf.saved_model.load` opens it in a process that has neither Keras nor tfshed. It has
    `serve(*inputs)` with the model's own structure of inputs and outputs, and the signature
    `serving_default` with tensors by name: a dictionary's keys or the names given to
    `keras.Input`, else `input_0`, `input_1`, ...; outputs by their keys in a dictionary, else
    `output_0`, `output_1`, ... The batch is open. Each weight is stored once, in full: the
    zeros of a pruned model take their place. Layers are exported as they are.

    What is exact: on TensorFlow, on the same machine, `serve` gives bit for bit the outputs of
    `tf.function(lambda x: model(x, training=False))`. Called eagerly, or compiled with XLA,
    TensorFlow rounds differently (it fuses convolution, bias and BatchNorm in one but not in the
    other): there, and on JAX, outputs agree to float rounding.

    Nothing is at `path` before all is written and verified; with `overwrite` the earlier export
    stays until then.

    Args:
        model: a built `keras.Model`. A subclassed one must have been called, or
            `input_signature` given; after a call its inputs count as floats.
        path: folder to write, on a local file system. Missing parents are made.
        overwrite: replaces an earlier SavedModel at `path`; anything else there is an error.
        verify: loads what was written and compares outputs on random inputs, batch 2, any other
            open size 16.
        input_signature: a list with one `keras.InputSpec`, `tf.TensorSpec` or structure of
            these for each positional argument of `model.call`. `None` takes the model's own.

    Returns:
        `path` as a `pathlib.Path`.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if the model is not built, its inputs are not known or `path` is remote.
        FileExistsError: if something is at `path` that may not be replaced.
        RuntimeError: on a backend other than TensorFlow or JAX, or if what was written does not
            give the model's outputs; then nothing is kept.

    Example:
        >>> import tempfile, keras
        >>> from tfshed import export
        >>> model = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(2)])
        >>> path = export.saved_model(model, tempfile.mkdtemp() + "/model")
        >>> import tensorflow as tf
        >>> loaded = tf.saved_model.load(path)
        >>> loaded.serve(tf.ones((3, 4))).shape
        TensorShape([3, 2])
        >>> sorted(loaded.signatures["serving_default"](x=tf.ones((3, 4))))
        ['output_0']

    Source: TensorFlow's guide "Using the SavedModel format"; keras issue 23553 on `model.export`.
    """
    _check_model(model, input_signature)
    target = _local_path(path)
    with replaced_folder(target, overwrite=overwrite, holds="saved_model.pb") as new:
        import tensorflow as tf

        specs = input_specs(model, input_signature)
        if not model.built:
            model(*as_arrays(random_inputs(specs)), training=False)
        root, signatures = serving_object(model, specs)
        with _quiet():
            tf.saved_model.save(root, str(new), signatures=signatures)
        if verify:
            verify_saved_model(model, root, specs, new)
    return target


def _check_model(model: Any, input_signature: Any) -> None:
    import keras

    backend = keras.backend.backend()
    if backend not in ("tensorflow", "jax"):
        raise RuntimeError(
            f"export: expected Keras' TensorFlow or JAX backend, received {backend!r}, whose "
            "operations no SavedModel can hold. Save the model with model.save('model.keras'), "
            "then load and export it in a process started with KERAS_BACKEND=tensorflow."
        )
    if not isinstance(model, keras.Model):
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        legacy = kind.startswith("tf_keras.") or any(
            base.__module__.startswith("tf_keras.") for base in type(model).__mro__
        )
        raise TypeError(
            f"export: expected a keras.Model of Keras 3, received {kind}. "
            + (
                "A tf_keras model is exported with its own model.export(path)."
                if legacy
                else "Wrap a layer in keras.Sequential([keras.Input(shape), layer])."
            )
        )
    # With a signature, it is built by calling it on inputs of that kind.
    if not model.built and input_signature is None:
        raise ValueError(
            f"export: expected a built model, received {model.name!r}, which has no weights yet. "
            "Call it on a batch or give it a keras.Input first."
        )


def _local_path(path: str | os.PathLike[str]) -> Path:
    if "://" in os.fspath(path):
        raise ValueError(
            f"export: expected a local path, received {os.fspath(path)!r}. Export to a local "
            "folder and copy it with tf.io.gfile or the storage's own tool."
        )
    return Path(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps back TensorFlow's notes on where it wrote what, not its warnings."""
    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl")]
    levels = [logger.level for logger in loggers]
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
