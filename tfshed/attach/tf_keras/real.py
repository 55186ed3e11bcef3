"""The real tfmot and tf_keras, imported without what tfmot does to a process.

Importing tfmot sets TF_USE_LEGACY_KERAS=1, and a `tf.keras` that nobody has touched before then
becomes tf_keras for the whole process.
"""

from __future__ import annotations

import os
import warnings

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "tfshed.tfmot: expected the TensorFlow backend, on which tf_keras runs, found "
        f"{keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow before Keras is imported."
    )

import tensorflow as tf

VARIABLE = "TF_USE_LEGACY_KERAS"

tf.keras.layers  # noqa: B018  # `tf.keras` decides now, by the user's own setting, what it is
_before = os.environ.get(VARIABLE)
try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old modules that tfmot imports
        import tensorflow_model_optimization
        import tf_keras
        from tensorflow_model_optimization.python.core.sparsity.keras import (
            prune_registry,
            pruning_impl,
            pruning_wrapper,
        )
finally:
    if _before is None:
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = _before

sparsity = tensorflow_model_optimization.sparsity.keras

__all__ = [
    "prune_registry",
    "pruning_impl",
    "pruning_wrapper",
    "sparsity",
    "tensorflow_model_optimization",
    "tf_keras",
]
