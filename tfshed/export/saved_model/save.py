"""Saves an object as a SavedModel, with its variables in a checkpoint or in packed files."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from tfshed.export.saved_model.expander import expander, without_checkpoint
from tfshed.export.saved_model.weight_files import pack, packable

logger = logging.getLogger("tfshed")

# The attributes of the saved object that hold the packed files. Loaded objects do not have them:
# if a loaded model were saved again with them, loading it would overwrite the values of its
# checkpoint with those of the packed files.
HIDDEN = ("expander", "packed_files")


def save_dense(root: Any, path: Path, signatures: dict[str, Any]) -> None:
    """Saves what `serving_object` returned, with every value in a checkpoint."""
    import tensorflow as tf

    _save(root, path, signatures, tf.saved_model.SaveOptions())


def save_packed(root: Any, path: Path, signatures: dict[str, Any], values: str) -> None:
    """Saves what `serving_object` returned, with its variables in packed files.

    Variables that cannot be packed, such as strings or those with several replicas, are written to
    the checkpoint.

    Raises:
        ValueError: The dtype `values` cannot hold the numbers of a variable. The error names it.
    """
    import tensorflow as tf

    variables = all_variables(root)
    packed = [variable for variable in variables if packable(variable)]
    # The operations that write and read a checkpoint are as many as those of a small model, so they
    # are left out when nothing is in the checkpoint.
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
    """Saves with the gradients that layers define themselves, or without if that is impossible."""
    import tensorflow as tf

    try:
        tf.saved_model.save(root, str(path), signatures=signatures, options=options)
    except ValueError as error:
        # TensorFlow has no class for this error, so it is recognised by its text.
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
    """The variables of the forward pass, and those that only the preprocessing reads."""
    return [*root.variables, *getattr(root, "preprocessing_variables", [])]
