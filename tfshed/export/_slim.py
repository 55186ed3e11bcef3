"""Takes out of a saved_model.pb what is there twice or is never reached, and numbers its names.

TensorFlow writes the forward pass once for callers and once more for the signature's own call,
and names functions by a counter that runs through the process. Here equal functions become one,
functions that only call another go, nodes that nothing leads to go too, and the same model gives
the same bytes whenever it is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

DT_RESOURCE = 20


def slim(folder: Path, hidden: tuple[str, ...] = ()) -> None:
    """Rewrites `folder/saved_model.pb`, and the fingerprint that goes with it.

    Args:
        folder: a SavedModel.
        hidden: attributes of the saved object that the loaded one is not to have. What they name
            is loaded and initialised, but is not saved again with the loaded object.
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
        _drop_unreached(meta)
        _number(meta)
        for function in meta.graph_def.library.function:
            _shorten(function, function.signature.name in meta.object_graph_def.concrete_functions)
        _hide(meta.object_graph_def, hidden)
        _call_directly(meta.object_graph_def)
    path.write_bytes(saved.SerializeToString(deterministic=True))
    fingerprinting_utils.write_fingerprint(str(folder))


def _merge_equal(meta: Any) -> bool:
    """Drops functions that differ from another in nothing but their names.

    Not those that loaded objects have: they may be bound to other variables.
    """
    library = meta.graph_def.library
    known = {gradient.function_name for gradient in library.gradient}
    known |= set(meta.object_graph_def.concrete_functions)
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
    _keep(library.function, [f for f in library.function if f.signature.name not in renamed])
    _rename(meta, lambda name: renamed.get(name, name))
    return bool(renamed)


def _shortcut(meta: Any) -> None:
    """Drops functions that only call another one with what they get and return what it does."""
    library = meta.graph_def.library
    known = set(meta.object_graph_def.concrete_functions)
    known |= {gradient.function_name for gradient in library.gradient}
    callee = {f.signature.name: _only_calls(f) for f in library.function}
    instead = {name: target for name, target in callee.items() if target and name not in known}

    def new(name: str) -> str:
        while name in instead:
            name = instead[name]
        return name

    _keep(library.function, [f for f in library.function if f.signature.name not in instead])
    _rename(meta, new)


def _only_calls(function: Any) -> str | None:
    """The function that this one hands its arguments and results through to, if it does only so."""
    others = {n.name: n for n in function.node_def if n.op in ("Identity", "NoOp")}
    calls = [n for n in function.node_def if n.name not in others]
    if len(calls) != 1 or not calls[0].op.endswith("PartitionedCall"):
        return None
    call, arguments = calls[0], [arg.name for arg in function.signature.input_arg]
    results = []
    for arg in function.signature.output_arg:
        source = function.ret[arg.name]
        while _node(source) in others:
            source = others[_node(source)].input[0]
        results.append(source)
    wanted = [f"{call.name}:output:{i}" for i in range(len(call.attr["Tout"].list.type))]
    return call.attr["f"].func.name if list(call.input) == arguments and results == wanted else None


def _keep(repeated: Any, kept: list[Any]) -> None:
    """Leaves only these messages in a repeated field, in this order."""
    copies = [type(message).FromString(message.SerializeToString()) for message in kept]
    del repeated[:]
    repeated.extend(copies)


def _drop_unreached(meta: Any) -> None:
    """Drops nodes outside functions that no signature, initialiser or saver leads to."""
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
    todo = [_node(end) for end in ends if end]
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += [_node(i) for i in inputs.get(name, [])]
    _keep(graph.node, [node for node in graph.node if node.name in reached])


def _node(tensor: str) -> str:
    return tensor.lstrip("^").split(":")[0]


def _order(library: Any) -> None:
    """Puts functions in the order in which they were made: their order in the file is a hash's."""

    def made(function: Any) -> tuple[int, str]:
        name = function.signature.name
        number = re.search(r"_([0-9]+)$", name)
        return int(number.group(1)) if number else -1, name

    _keep(library.function, sorted(library.function, key=made))


def _number(meta: Any) -> None:
    """Numbers the functions in their own order, where TensorFlow's counter was."""
    names = {}
    for index, function in enumerate(meta.graph_def.library.function):
        old = function.signature.name
        names[old] = f"{re.sub(r'_[0-9]+$', '', old)}_{index}"
    _rename(meta, lambda name: names.get(name, name))


def _shorten(function: Any, public: bool) -> None:
    """Numbers the nodes of a function, and what it gets; drops what is inferred.

    Nobody looks these names up, and they are most of a function's bytes; only those of a public
    function's own inputs stay.
    """
    # Names of inputs begin with a letter: numbers are free.
    names = {node.name: str(i) for i, node in enumerate(function.node_def)}
    args = function.signature.input_arg
    kept_args = {arg.name for arg in args if public and arg.type != DT_RESOURCE}
    stem = "v"
    while any(name.startswith(stem) for name in kept_args):
        stem += "_"
    for i, arg in enumerate(args):
        if arg.name not in kept_args:
            names[arg.name] = arg.name = f"{stem}{i}"
        given = function.arg_attr[i].attr if i in function.arg_attr else {}
        # A captured tensor's address, or the like.
        if "_user_specified_name" in given and given["_user_specified_name"].s.isdigit():
            del given["_user_specified_name"]

    def new(tensor: str) -> str:
        control, name = ("^", tensor[1:]) if tensor.startswith("^") else ("", tensor)
        source, colon, output = name.partition(":")
        return control + names.get(source, source) + colon + output

    for node in function.node_def:
        node.name = names[node.name]
        inputs = [new(tensor) for tensor in node.input]
        del node.input[:]
        node.input.extend(inputs)
        node.ClearField("experimental_debug_info")
        _drop_shapes(node)
        located = node.attr["_class"].list.s if "_class" in node.attr else []
        for i, place in enumerate(located):
            if place.startswith(b"loc:@"):
                located[i] = b"loc:@" + new(place[5:].decode()).encode()
    for name, tensor in list(function.ret.items()):
        function.ret[name] = new(tensor)
    kept = [function.control_ret[name] for name in function.signature.control_output]
    function.control_ret.clear()
    del function.signature.control_output[:]
    for i, node_name in enumerate(kept):
        function.signature.control_output.append(f"c{i}")
        function.control_ret[f"c{i}"] = new(node_name)


def _drop_shapes(node: Any) -> None:
    # A call's shapes are not inferred from what is called.
    calls = any(attr.HasField("func") or attr.list.func for attr in node.attr.values())
    if "_output_shapes" in node.attr and not calls:
        del node.attr["_output_shapes"]


def _hide(objects: Any, hidden: tuple[str, ...]) -> None:
    root = objects.nodes[0]
    _keep(root.children, [child for child in root.children if child.local_name not in hidden])


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


def _rename(meta: Any, new: Callable[[str], str]) -> None:
    """Renames functions wherever they are named."""
    graph, objects = meta.graph_def, meta.object_graph_def
    for function in graph.library.function:
        function.signature.name = new(function.signature.name)
    for gradient in graph.library.gradient:
        gradient.function_name = new(gradient.function_name)
        gradient.gradient_func = new(gradient.gradient_func)
    for attr in _attributes(graph):
        if attr.HasField("func"):
            attr.func.name = new(attr.func.name)
        for listed in attr.list.func:
            listed.name = new(listed.name)
    for node in _nodes(graph):
        node.op = new(node.op)
    for old in list(objects.concrete_functions):
        if new(old) != old:
            objects.concrete_functions[new(old)].CopyFrom(objects.concrete_functions[old])
            del objects.concrete_functions[old]
    for thing in objects.nodes:
        if thing.HasField("function"):
            listed_names = [new(name) for name in thing.function.concrete_functions]
            del thing.function.concrete_functions[:]
            thing.function.concrete_functions.extend(listed_names)
        if thing.HasField("bare_concrete_function"):
            bare = thing.bare_concrete_function
            bare.concrete_function_name = new(bare.concrete_function_name)


def _nodes(graph: Any) -> Iterator[Any]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def _attributes(graph: Any) -> Iterator[Any]:
    for node in _nodes(graph):
        yield from node.attr.values()
    for function in graph.library.function:
        yield from function.attr.values()
