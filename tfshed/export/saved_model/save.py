"""Saves an object as a SavedModel: its variables in a checkpoint, or in packed files instead."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from tfshed.export.saved_model.expander import expander, without_checkpoint
from tfshed.export.saved_model.weight_files import pack, packable

logger = logging.getLogger("tfshed")

# What the saved object holds for packing. Saved again after loading, a model has a checkpoint,
# which the packed files are not to overwrite then: so loaded objects do not have these.
HIDDEN = ("expander", "packed_files")


def save_dense(root: Any, path: Path, signatures: dict[str, Any]) -> None:
    """Saves what `serving_object` returns with every value in a checkpoint."""
    import tensorflow as tf

    _save(root, path, signatures, tf.saved_model.SaveOptions())


def save_packed(root: Any, path: Path, signatures: dict[str, Any], values: str) -> None:
    """Saves what `serving_object` returns with its variables in packed files.

    Variables that no file can hold, of strings or with several replicas, stay in the checkpoint.

    Raises:
        ValueError: `values` cannot hold the numbers of a variable, which is named.
    """
    import tensorflow as tf

    variables = all_variables(root)
    packed = [variable for variable in variables if packable(variable)]
    # The operations that write and read a checkpoint would be as many as those of a model.
    needs_saver = len(packed) < len(variables) or bool(root.resources)
    options = tf.saved_model.SaveOptions(experimental_skip_saver=not needs_saver)
    if packed:
        files = list(pack(packed, values, path.parent))
        root.packed_files = [tf.saved_model.Asset(str(file.path)) for file in files]
        root.expander = expander(packed, files, list(root.packed_files))
    try:
        with without_checkpoint(packed):
            _save(root, path, signatures, options)
    finally:
        for name in HIDDEN if packed else ():
            delattr(root, name)  # the object may be saved dense afterwards


def _save(root: Any, path: Path, signatures: dict[str, Any], options: Any) -> None:
    """Saves with the gradients of functions that have their own, or without if these cannot be."""
    import tensorflow as tf

    try:
        tf.saved_model.save(root, str(path), signatures=signatures, options=options)
    except ValueError as error:
        if "gradient" not in str(error):
            raise
        logger.warning(
            "export: TensorFlow cannot save a gradient that a layer defines itself: %s The "
            "SavedModel computes the model's outputs, but not its gradients.",
            str(error).strip().splitlines()[0],
        )
        options.experimental_custom_gradients = False
        tf.saved_model.save(root, str(path), signatures=signatures, options=options)


def all_variables(root: Any) -> list[Any]:
    """What the forward pass reads, and what preprocessing reads beyond that."""
    return [*root.variables, *getattr(root, "preprocessing_variables", [])]
