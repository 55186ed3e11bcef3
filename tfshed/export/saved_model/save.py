"""Saves an object with its variables in packed files instead of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfshed.export.saved_model.expander import expander, without_checkpoint
from tfshed.export.saved_model.shorten.passes import shorten_graph
from tfshed.export.saved_model.weight_files import pack, packable


def save_packed(root: Any, path: Path, signatures: dict[str, Any], values: str) -> None:
    """As `tf.saved_model.save(root, path, signatures)`, for what `serving_object` returns.

    Variables that no file can hold, of strings or with several replicas, stay in the checkpoint.

    Raises:
        ValueError: naming the variable whose numbers `values` cannot hold.
    """
    import tensorflow as tf

    variables = all_variables(root)
    packed = [variable for variable in variables if packable(variable)]
    if packed:
        files = list(pack(packed, values, path.parent))
        root.packed_files = [tf.saved_model.Asset(str(file.path)) for file in files]
        root.expander = expander(packed, files, list(root.packed_files))
    # The operations that write and read a checkpoint would be as many as those of a model.
    needs_saver = len(packed) < len(variables) or bool(root.resources)
    options = tf.saved_model.SaveOptions(experimental_skip_saver=not needs_saver)
    with without_checkpoint(packed):
        tf.saved_model.save(root, str(path), signatures=signatures, options=options)
    # Saved again after loading, a model has a checkpoint, which files are not to overwrite then.
    shorten_graph(path, hidden=("expander", "packed_files"))


def all_variables(root: Any) -> list[Any]:
    """What the forward pass reads, and what preprocessing reads beyond that."""
    return [*root.variables, *getattr(root, "preprocessing_variables", [])]
