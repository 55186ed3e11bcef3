"""What goes within a function: equal constants, names, shapes that are inferred."""

from __future__ import annotations

from typing import Any

from tfshed.export.saved_model.shorten.messages import keep_only

DT_RESOURCE = 20


def merge_constants(function: Any) -> None:
    """Leaves one of equal constants: Keras' layers make their own for each axis and each size."""
    first: dict[bytes, str] = {}
    instead: dict[str, str] = {}
    for node in function.node_def:
        if node.op == "Const":
            body = type(node)()
            body.CopyFrom(node)
            body.ClearField("name")
            body.ClearField("experimental_debug_info")
            same = first.setdefault(body.SerializeToString(deterministic=True), node.name)
            if same != node.name:
                instead[node.name] = same
    keep_only(function.node_def, [node for node in function.node_def if node.name not in instead])
    _rename(function, instead)


def shorten_body(function: Any, public: bool) -> None:
    """Numbers the nodes of a function, and what it gets; drops what is inferred.

    Nobody looks these names up, and they are most of a function's bytes; only those of a public
    function's own inputs stay.
    """
    # In the order of the names: by these TensorFlow's optimizer orders the terms of long sums, and
    # other orders round differently. Names of inputs begin with a letter: numbers are free.
    ordered = sorted(node.name for node in function.node_def)
    names = {name: f"{i:0{len(str(len(ordered)))}}" for i, name in enumerate(ordered)}
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

    for node in function.node_def:
        node.name = names[node.name]
        node.ClearField("experimental_debug_info")
        _drop_shapes(node)
    _rename(function, names)
    kept = [function.control_ret[name] for name in function.signature.control_output]
    function.control_ret.clear()
    del function.signature.control_output[:]
    for i, node_name in enumerate(kept):
        function.signature.control_output.append(f"c{i}")
        function.control_ret[f"c{i}"] = node_name


def _drop_shapes(node: Any) -> None:
    # A call's shapes are not inferred from what is called.
    calls = any(attr.HasField("func") or attr.list.func for attr in node.attr.values())
    if "_output_shapes" in node.attr and not calls:
        del node.attr["_output_shapes"]


def _rename(function: Any, names: dict[str, str]) -> None:
    """Puts other names wherever the function refers to its nodes and arguments."""

    def new(tensor: str) -> str:
        control, name = ("^", tensor[1:]) if tensor.startswith("^") else ("", tensor)
        source, colon, output = name.partition(":")
        return control + names.get(source, source) + colon + output

    for node in function.node_def:
        inputs = [new(tensor) for tensor in node.input]
        del node.input[:]
        node.input.extend(inputs)
        located = node.attr["_class"].list.s if "_class" in node.attr else []
        for i, place in enumerate(located):
            if place.startswith(b"loc:@"):
                located[i] = b"loc:@" + new(place[5:].decode()).encode()
    for results in (function.ret, function.control_ret):
        for name, tensor in list(results.items()):
            results[name] = new(tensor)
