"""The object in a SavedModel that fills its variables from packed files when it is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from typing import Any

from tfshed.export.saved_model.decoding import Layout, decode
from tfshed.export.saved_model.weight_files import File, Part

# Arrays that are decoded at a time, each with some ten bytes for a value at its worst.
PARALLEL = 4


def expander(variables: list[Any], files: list[File], assets: list[Any]) -> Any:
    """Returns a resource whose initialisation, which every loader runs, assigns all variables.

    The object that is saved must hold the `assets`, one `tf.saved_model.Asset` for each file, too.
    """
    import tensorflow as tf

    class Expander(tf.saved_model.experimental.TrackableResource):
        def _create_resource(self) -> Any:
            # Loaders want something with a handle; nothing is ever kept in it.
            return tf.raw_ops.VarHandleOp(dtype=tf.bool, shape=[], shared_name="tfshed_expander")

        def _initialize(self) -> None:
            before: list[Any] = []
            for file, asset in zip(files, assets, strict=True):
                # One file after the other, so that only one has its bytes in memory.
                with tf.control_dependencies(before), tf.device("CPU:0"):
                    data = _checked(asset.asset_path, file)
                    before = list(_assignments(variables, file, data))

    return Expander(device="CPU")


def _checked(path: Any, file: File) -> Any:
    """The file's bytes, after a look at how many there are and at their fingerprint (FarmHash)."""
    import tensorflow as tf

    data = tf.io.read_file(path)
    whose = f"assets/{file.path.name} of this SavedModel, written by tfshed"
    todo = "Copy the SavedModel again, or export it again."
    size = tf.strings.length(data)
    right_size = tf.debugging.Assert(
        tf.equal(tf.cast(size, tf.int64), file.size),
        [f"{whose}: expected {file.size} bytes, received", size, f"bytes. {todo}"],
    )
    with tf.control_dependencies([right_size]):
        data = tf.identity(data)
    same = tf.reduce_all(tf.equal(tf.fingerprint(data[None])[0], list(file.fingerprint)))
    right = tf.debugging.Assert(
        same, [f"{whose}: expected the bytes that were written, received others. {todo}"]
    )
    with tf.control_dependencies([right]):
        return tf.identity(data)


def _assignments(variables: list[Any], file: File, data: Any) -> Iterator[Any]:
    import tensorflow as tf

    alike: dict[Layout, list[Part]] = {}
    for part in file.parts:
        alike.setdefault(part.layout, []).append(part)
    for layout, parts in alike.items():
        for part, array in zip(parts, _decoded(layout, parts, data), strict=True):
            targets = [variables[position] for position in part.variables]
            if len(targets) == 1:
                array = tf.cast(array, targets[0].dtype)  # from a lossy one
                pieces = [array if part.scale is None else array * part.scale]
            else:
                pieces = _pieces(array, [target.shape for target in targets])
            for target, value in zip(targets, pieces, strict=True):
                yield tf.raw_ops.AssignVariableOp(resource=target.handle, value=value)


def _decoded(layout: Layout, parts: list[Part], data: Any) -> list[Any]:
    """The arrays of parts that are decoded alike.

    Of many in a loop: as nodes for each, or as calls of a function, they would take TensorFlow
    several times longer to prepare than to run.
    """
    import tensorflow as tf

    rows = tf.constant([part.row for part in parts], tf.int64)
    if len(parts) == 1:
        return [decode(layout, rows[0], data)]
    arrays = tf.TensorArray(layout.dtype, len(parts), element_shape=None, infer_shape=False)

    def step(i: Any, arrays: Any) -> tuple[Any, Any]:
        return i + 1, arrays.write(i, decode(layout, rows[i], data))

    _, arrays = tf.while_loop(
        lambda i, _: i < len(parts), step, (0, arrays), parallel_iterations=PARALLEL
    )
    any_shape = tf.constant(-1)
    last, pieces = arrays.flow, []
    for _ in parts:  # from the end on: to take one by its number needs a constant for each
        last, piece = tf.raw_ops.TensorListPopBack(
            input_handle=last, element_shape=any_shape, element_dtype=layout.dtype
        )
        pieces.append(piece)
    return pieces[::-1]


def _pieces(vector: Any, shapes: list[Any]) -> list[Any]:
    """Cuts a vector into tensors; those alike in all axes but the first by one operation."""
    import tensorflow as tf

    groups = [list(g) for _, g in groupby(shapes, key=lambda s: (s.rank, tuple(s[1:])))]
    sizes = [sum(shape.num_elements() for shape in group) for group in groups]
    pieces: list[Any] = []
    for group, rows in zip(groups, tf.split(vector, sizes), strict=True):
        if group[0].rank == 0:
            pieces += tf.unstack(rows, len(group))
        else:
            lengths = [shape[0] for shape in group]
            rows = tf.reshape(rows, [sum(lengths), *group[0][1:]])
            pieces += tf.split(rows, lengths)
    return pieces


@contextmanager
def without_checkpoint(variables: list[Any]) -> Iterator[None]:
    """Within the block `tf.saved_model.save` writes no values for these variables.

    TensorFlow has no public way to say so: these three methods of `Trackable` are replaced on
    the objects, and on those that stand for them in the saved graph.
    """

    def silence(variable: Any) -> None:
        variable._serialize_to_tensors = dict
        variable._restore_from_tensors = lambda tensors: None

    def export(variable: Any, original: Any, object_map: Any, **others: Any) -> Any:
        handles = original(object_map=object_map, **others)
        silence(object_map[variable])
        return handles

    replaced = ("_serialize_to_tensors", "_restore_from_tensors", "_export_to_saved_model_graph")
    try:
        for variable in variables:
            original = variable._export_to_saved_model_graph
            silence(variable)
            variable._export_to_saved_model_graph = partial(export, variable, original)
        yield
    finally:
        for variable in variables:
            for name in replaced:
                vars(variable).pop(name, None)
