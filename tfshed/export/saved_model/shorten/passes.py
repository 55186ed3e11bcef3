"""Takes out of a saved_model.pb what is there twice or is never reached, and numbers its names.

TensorFlow writes the forward pass once for callers and once more for the signature's own call,
and names functions by a counter that runs through the process. Here equal functions become one,
functions that only call another go, nodes that nothing leads to go too, and the same model gives
the same bytes whenever it is written.
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

# What is done to functions' bodies, where TensorFlow's optimizer looks at the result when it runs.
BODY_PASSES = ("merge_constants", "drop_notes", "shorten_names")


def shorten_graph(
    folder: Path, hidden: tuple[str, ...] = (), body_passes: Sequence[str] = BODY_PASSES
) -> None:
    """Rewrites `folder/saved_model.pb`, and the fingerprint that goes with it.

    Args:
        folder: A SavedModel.
        hidden: Attributes of the saved object that the loaded one is not to have. What they name
            is loaded and initialised, but is not saved again with the loaded object.
        body_passes: Which of `BODY_PASSES` are done; by default all.
    """
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow.python.saved_model import fingerprinting_utils

    path = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for meta in saved.meta_graphs:
        _order(meta.graph_def.library)
        _shortcut(meta)
        while _merge_equal(meta):  # what calls equal functions is equal only then
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


def _known(meta: Any) -> set[str]:
    """The functions that something else than a call names, and that have to stay for it.

    Loaded objects have them, they are the gradient of something, or a gradient reads their tensors.
    """
    library, objects = meta.graph_def.library, meta.object_graph_def
    gradients = {gradient.function_name for gradient in library.gradient}
    registered = {gradient.gradient_func for gradient in library.registered_gradients}
    return gradients | registered | set(objects.concrete_functions) | set(captured_tensors(objects))


def _merge_equal(meta: Any) -> bool:
    """Drops functions that differ from another in nothing but their names.

    Not those that loaded objects have: they may be bound to other variables.
    """
    library = meta.graph_def.library
    known = _known(meta)
    functions = sorted(library.function, key=lambda f: f.signature.name not in known)  # these first
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
    """Drops functions that only call another one with what they get and return what it does."""
    library = meta.graph_def.library
    known = _known(meta)
    callee = {f.signature.name: _only_calls(f) for f in library.function}
    instead = {name: target for name, target in callee.items() if target and name not in known}

    def new(name: str) -> str:
        while name in instead:
            name = instead[name]
        return name

    keep_only(library.function, [f for f in library.function if f.signature.name not in instead])
    rename_functions(meta, new)


def _only_calls(function: Any) -> str | None:
    """The function that this one hands its arguments and results through to, if it does only so."""
    if set(function.attr) - {"_construction_context", "_input_shapes"}:
        return None  # it says how it is to be compiled, or what it stands for
    others = {n.name: n for n in function.node_def if n.op in ("Identity", "NoOp")}
    calls = [n for n in function.node_def if n.name not in others]
    if len(calls) != 1 or not calls[0].op.endswith("PartitionedCall"):
        return None
    if "_gradient_op_type" in calls[0].attr:
        return None
    call, arguments = calls[0], [arg.name for arg in function.signature.input_arg]
    results = []
    for arg in function.signature.output_arg:
        source = function.ret[arg.name]
        while node_of(source) in others:
            source = others[node_of(source)].input[0]
        results.append(source)
    wanted = [f"{call.name}:output:{i}" for i in range(len(call.attr["Tout"].list.type))]
    return call.attr["f"].func.name if list(call.input) == arguments and results == wanted else None


def _drop_unreached(meta: Any) -> None:
    """Drops nodes outside functions that no signature, initialiser or saver leads to.

    Those that read a variable stay.
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
    # Tools of TensorFlow 1 that turn variables into constants look these up by their names.
    reads = [n for n in graph.node if n.op == "ReadVariableOp" and node_of(n.input[0]) in reached]
    reached |= {node.name for node in reads}
    keep_only(graph.node, [node for node in graph.node if node.name in reached])


def _order(library: Any) -> None:
    """Puts functions in the order in which they were made: their order in the file is a hash's."""

    def made(function: Any) -> tuple[int, str]:
        name = function.signature.name
        number = re.search(r"_([0-9]+)$", name)
        return int(number.group(1)) if number else -1, name

    keep_only(library.function, sorted(library.function, key=made))


def _number(meta: Any) -> None:
    """Numbers the functions in their own order, where TensorFlow's counter was."""
    names = {}
    for index, function in enumerate(meta.graph_def.library.function):
        old = function.signature.name
        names[old] = f"{re.sub(r'_[0-9]+$', '', old)}_{index}"
    rename_functions(meta, lambda name: names.get(name, name))


def _hide(objects: Any, hidden: tuple[str, ...]) -> None:
    root = objects.nodes[0]
    keep_only(root.children, [child for child in root.children if child.local_name not in hidden])


def _call_directly(objects: Any) -> None:
    """Has loaders call the functions of resources as they are.

    As functions that choose among signatures, each would be traced once more and inlined first.
    """
    for resource in objects.nodes:
        if resource.HasField("resource"):
            for child in resource.children:
                function = objects.nodes[child.node_id]
                names = function.function.concrete_functions
                if len(names) == 1:
                    name = names[0]
                    function.bare_concrete_function.concrete_function_name = name
