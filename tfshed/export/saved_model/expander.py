"""The object in a SavedModel that fills the variables from packed files during loading."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from typing import Any

from tfshed.export.saved_model.decoding import Layout, decode
from tfshed.export.saved_model.weight_files import File, Part

# How many arrays are decoded at a time. Decoding may take some ten bytes of memory for each value.
PARALLEL = 4


def expander(variables: list[Any], files: list[File], assets: list[Any]) -> Any:
    """Returns a resource that assigns all variables when it is initialised.

    Everything that loads a SavedModel initialises its resources.

    Args:
        variables: The variables that were packed.
        files: The files that hold their values.
        assets: One `tf.saved_model.Asset` for each file. The saved object must hold them too.
    """
    import tensorflow as tf

    class Expander(tf.saved_model.experimental.TrackableResource):
        def _create_resource(self) -> Any:
            # A resource needs a handle. Nothing is ever stored in this one.
            return tf.raw_ops.VarHandleOp(dtype=tf.bool, shape=[], shared_name="tfshed_expander")

        def _initialize(self) -> None:
            before: list[Any] = []
            for file, asset in zip(files, assets, strict=True):
                # One file after the other, so that memory holds the bytes of only one.
                with tf.control_dependencies(before), tf.device("CPU:0"):
                    data = _checked(asset.asset_path, file)
                    before = list(_assignments(variables, file, data))

    return Expander(device="CPU")


def _checked(path: Any, file: File) -> Any:
    """The bytes of a file, after its size and its fingerprint (FarmHash) have been checked."""
    import tensorflow as tf

    data = tf.io.read_file(path)
    name = f"assets/{file.path.name} of this SavedModel, written by tfshed"
    advice = "Copy the SavedModel again, or export it again."
    size = tf.strings.length(data)
    right_size = tf.debugging.Assert(
        tf.equal(tf.cast(size, tf.int64), file.size),
        [f"{name}: expected {file.size} bytes, received", size, f"bytes. {advice}"],
    )
    with tf.control_dependencies([right_size]):
        data = tf.identity(data)
    same = tf.reduce_all(tf.equal(tf.fingerprint(data[None])[0], list(file.fingerprint)))
    right = tf.debugging.Assert(
        same, [f"{name}: expected the bytes that were written, received others. {advice}"]
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
                array = tf.cast(array, targets[0].dtype)  # from the dtype of rounded values
                pieces = [array if part.scale is None else array * part.scale]
            else:
                pieces = _pieces(array, [target.shape for target in targets])
            for target, value in zip(targets, pieces, strict=True):
                yield tf.raw_ops.AssignVariableOp(resource=target.handle, value=value)


def _decoded(layout: Layout, parts: list[Part], data: Any) -> list[Any]:
    """The arrays of all parts with one layout.

    Several parts are decoded in one loop. With nodes or a function call for each part, TensorFlow
    would take several times longer to prepare the graph than to run it.
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
    # Popping from the end needs no index, and thus no constant in the graph for each array.
    for _ in parts:
        last, piece = tf.raw_ops.TensorListPopBack(
            input_handle=last, element_shape=any_shape, element_dtype=layout.dtype
        )
        pieces.append(piece)
    return pieces[::-1]


def _pieces(vector: Any, shapes: list[Any]) -> list[Any]:
    """Cuts a vector into tensors; one operation cuts all that differ in the first axis only."""
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

    TensorFlow has no public way to do this. Three methods of `Trackable` are therefore replaced on
    the variables, and on the copies that `tf.saved_model.save` makes of them.
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
