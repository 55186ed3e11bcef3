"""Removes duplicates and unreachable parts from a saved_model.pb, and renumbers its functions.

TensorFlow writes the forward pass twice, once for callers and once for the signature, and names
functions by a counter of the whole process. Here equal functions are merged, functions that only
call another one are removed, and so are nodes that nothing uses. Functions are numbered by their
place, so that the same model gives the same bytes whenever it is written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfshed.export.saved_model.shorten.function_bodies import (
    drop_notes,
    merge_constants,
    shorten_names,
)
from tfshed.export.saved_model.shorten.gradients import (
    captured_tensors,
    drop_unused_gradients,
    merge_forward_passes,
    number_gradients,
    rename_captured,
)
from tfshed.export.saved_model.shorten.messages import keep_only, node_of, rename_functions

# The passes over the bodies of functions. TensorFlow's optimizer sees their result when it runs the
# graph, so they might change how it rounds; `checked.write_packed` tests that they do not.
BODY_PASSES = ("merge_constants", "drop_notes", "shorten_names")


def shorten_graph(
    folder: Path, hidden: tuple[str, ...] = (), body_passes: Sequence[str] = BODY_PASSES
) -> None:
    """Shortens `folder/saved_model.pb`, and rewrites its fingerprint.

    Args:
        folder: The folder of a SavedModel.
        hidden: Attributes of the saved object that the loaded object will not have. The objects
            they name are still loaded and initialised, but they are not saved again with the
            loaded object. Default: none.
        body_passes: The passes over the bodies of functions; default all of `BODY_PASSES`.
    """
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow.python.saved_model import fingerprinting_utils

    path = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for meta in saved.meta_graphs:
        _order(meta.graph_def.library)
        _shortcut(meta)
        # Functions that call equal functions become equal only after those have been merged.
        while _merge_equal(meta):
            pass
        merge_forward_passes(meta)
        drop_unused_gradients(meta)
        _drop_unreached(meta)
        _number(meta)
        number_gradients(meta)
        _shorten_bodies(meta, body_passes)
        _hide(meta.object_graph_def, hidden)
        _call_directly(meta.object_graph_def)
    path.write_bytes(saved.SerializeToString(deterministic=True))
    fingerprinting_utils.write_fingerprint(str(folder))


def _shorten_bodies(meta: Any, body_passes: Sequence[str]) -> None:
    captured = captured_tensors(meta.object_graph_def)
    for function in meta.graph_def.library.function:
        name = function.signature.name
        mine = captured.get(name, [])
        if "merge_constants" in body_passes:
            rename_captured(mine, merge_constants(function))
        if "drop_notes" in body_passes:
            drop_notes(function)
        if "shorten_names" in body_passes:
            public = name in meta.object_graph_def.concrete_functions
            rename_captured(mine, shorten_names(function, public))


def _needed_by_name(meta: Any) -> set[str]:
    """The functions that are needed for other reasons than being called.

    They belong to loaded objects, they are gradients, or a gradient reads their tensors.
    """
    library, objects = meta.graph_def.library, meta.object_graph_def
    gradients = {gradient.function_name for gradient in library.gradient}
    registered = {gradient.gradient_func for gradient in library.registered_gradients}
    return gradients | registered | set(objects.concrete_functions) | set(captured_tensors(objects))


def _merge_equal(meta: Any) -> bool:
    """Merges functions that differ in nothing but their names; False if there are none.

    The functions of loaded objects are kept, as they may be bound to different variables.
    """
    library = meta.graph_def.library
    known = _needed_by_name(meta)
    # These come first, so that they are the ones that others are replaced by.
    functions = sorted(library.function, key=lambda f: f.signature.name not in known)
    first: dict[bytes, str] = {}
    renamed: dict[str, str] = {}
    for function in functions:
        body = type(function)()
        body.CopyFrom(function)
        body.signature.name = ""
        name = function.signature.name
        same = first.setdefault(body.SerializeToString(deterministic=True), name)
        if same != name and name not in known:
            renamed[name] = same
    keep_only(library.function, [f for f in library.function if f.signature.name not in renamed])
    rename_functions(meta, lambda name: renamed.get(name, name))
    return bool(renamed)


def _shortcut(meta: Any) -> None:
    """Removes functions that only pass their arguments to another function and return its result.

    Their callers call the other function directly.
    """
    library = meta.graph_def.library
    known = _needed_by_name(meta)
    callee = {f.signature.name: _only_calls(f) for f in library.function}
    instead = {name: target for name, target in callee.items() if target and name not in known}

    def new(name: str) -> str:
        while name in instead:
            name = instead[name]
        return name

    keep_only(library.function, [f for f in library.function if f.signature.name not in instead])
    rename_functions(meta, new)


def _only_calls(function: Any) -> str | None:
    """The name of the function that this one forwards to, or None if it does anything else."""
    if set(function.attr) - {"_construction_context", "_input_shapes"}:
        return None  # other attributes change how a function is compiled or replaced
    others = {n.name: n for n in function.node_def if n.op in ("Identity", "NoOp")}
    calls = [n for n in function.node_def if n.name not in others]
    if len(calls) != 1 or not calls[0].op.endswith("PartitionedCall"):
        return None
    if "_gradient_op_type" in calls[0].attr:
        return None
    call, arguments = calls[0], [arg.name for arg in function.signature.input_arg]
    results = []
    for arg in function.signature.output_arg:
        # Follow each result through Identity nodes back to the call.
        source = function.ret[arg.name]
        while node_of(source) in others:
            source = others[node_of(source)].input[0]
        results.append(source)
    wanted = [f"{call.name}:output:{i}" for i in range(len(call.attr["Tout"].list.type))]
    return call.attr["f"].func.name if list(call.input) == arguments and results == wanted else None


def _drop_unreached(meta: Any) -> None:
    """Removes the nodes outside of functions that no signature, initialiser or saver depends on.

    Nodes that read a variable are kept.
    """
    graph = meta.graph_def
    ends = [
        tensor.name
        for signature in meta.signature_def.values()
        for tensor in [*signature.inputs.values(), *signature.outputs.values()]
    ]
    ends += [asset.tensor_info.name for asset in meta.asset_file_def]
    saver = meta.saver_def
    ends += [saver.filename_tensor_name, saver.save_tensor_name, saver.restore_op_name]
    for collection in meta.collection_def.values():
        ends += collection.node_list.value
    inputs = {node.name: node.input for node in graph.node}
    reached: set[str] = set()
    todo = [node_of(end) for end in ends if end]
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += [node_of(i) for i in inputs.get(name, [])]
    # Tools of TensorFlow 1 that turn variables into constants look these nodes up by name.
    reads = [n for n in graph.node if n.op == "ReadVariableOp" and node_of(n.input[0]) in reached]
    reached |= {node.name for node in reads}
    keep_only(graph.node, [node for node in graph.node if node.name in reached])


def _order(library: Any) -> None:
    """Sorts functions by their time of creation; in the file they are in the order of a hash."""

    def creation(function: Any) -> tuple[int, str]:
        name = function.signature.name
        number = re.search(r"_([0-9]+)$", name)
        return int(number.group(1)) if number else -1, name

    keep_only(library.function, sorted(library.function, key=creation))


def _number(meta: Any) -> None:
    """Replaces the number in a function's name, from TensorFlow's counter, by its place."""
    names = {}
    for index, function in enumerate(meta.graph_def.library.function):
        old = function.signature.name
        names[old] = f"{re.sub(r'_[0-9]+$', '', old)}_{index}"
    rename_functions(meta, lambda name: names.get(name, name))


def _hide(objects: Any, hidden: tuple[str, ...]) -> None:
    """Removes attributes from the saved object, but not the objects that they name."""
    root = objects.nodes[0]
    keep_only(root.children, [child for child in root.children if child.local_name not in hidden])


def _call_directly(objects: Any) -> None:
    """Makes loaders call the functions of resources directly.

    As a `tf.function`, which chooses among its concrete functions, each would be traced and inlined
    once more during loading.
    """
    for resource in objects.nodes:
        if resource.HasField("resource"):
            for child in resource.children:
                function = objects.nodes[child.node_id]
                names = function.function.concrete_functions
                if len(names) == 1:
                    name = names[0]
                    function.bare_concrete_function.concrete_function_name = name
