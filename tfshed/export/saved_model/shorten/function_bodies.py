"""Shortens one function of a graph: equal constants, long names, shapes that can be inferred."""

from __future__ import annotations

from typing import Any

from tfshed.export.saved_model.shorten.messages import keep_only

DT_RESOURCE = 20


def merge_constants(function: Any) -> dict[str, str]:
    """Keeps one of several equal constants: Keras' layers make one for each axis and each size.

    Returns:
        A dictionary from the name of each removed constant to that of the one that replaces it.
    """
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
    return instead


def drop_notes(function: Any) -> None:
    """Removes notes on where nodes were created, and shapes that are inferred during loading."""
    for node in function.node_def:
        node.ClearField("experimental_debug_info")
        # For calls of functions TensorFlow does not infer the shapes.
        calls = any(attr.HasField("func") or attr.list.func for attr in node.attr.values())
        if "_output_shapes" in node.attr and not calls:
            del node.attr["_output_shapes"]
    for place in function.arg_attr.values():
        # TensorFlow writes the address of a captured tensor here, which differs in every process.
        if "_user_specified_name" in place.attr and place.attr["_user_specified_name"].s.isdigit():
            del place.attr["_user_specified_name"]


def shorten_names(function: Any, public: bool) -> dict[str, str]:
    """Gives the nodes and arguments of a function short names.

    Nothing looks these names up, and they are most of a function's bytes. The arguments of a public
    function keep their names, except for the variables among them.

    The new names must sort like the old ones: TensorFlow's optimizer orders the terms of long sums
    by name, and another order rounds differently. It also invents names, such as
    "net/dense/ArithmeticOptimizer/AddOpsRewrite_add" in the scope of "net/dense/add". The scopes
    are therefore preserved, and within each scope a new name is the first letter of the old name
    and its rank.

    Args:
        function: A `FunctionDef`, which is changed.
        public: Whether the function can be called from outside of the graph.

    Returns:
        A dictionary from old to new names.
    """
    arguments = function.signature.input_arg
    fixed = {arg.name for arg in arguments if public and arg.type != DT_RESOURCE}
    every = {node.name for node in function.node_def} | {arg.name for arg in arguments}
    short = _short_parts([tuple(name.split("/")) for name in every], fixed)
    names = {}
    for name in every - fixed:
        parts = tuple(name.split("/"))
        names[name] = "/".join(short[parts[: i + 1]] for i in range(len(parts)))
    for node in function.node_def:
        node.name = names[node.name]
    for arg in arguments:
        arg.name = names.get(arg.name, arg.name)
    _rename(function, names)
    kept = [function.control_ret[name] for name in function.signature.control_output]
    function.control_ret.clear()
    del function.signature.control_output[:]
    for i, node_name in enumerate(kept):
        function.signature.control_output.append(f"c{i}")
        function.control_ret[f"c{i}"] = node_name
    return names


def _short_parts(paths: list[tuple[str, ...]], taken: set[str]) -> dict[tuple[str, ...], str]:
    """For each scope and each name in it, by its path, a short name that sorts like the old one.

    >>> paths = [("net", "mul"), ("net", "add"), ("x",)]
    >>> sorted(_short_parts(paths, taken={"n0"}).items())
    [(('net',), 'n_0'), (('net', 'add'), 'a0'), (('net', 'mul'), 'm1'), (('x',), 'x_1')]
    """
    inside: dict[tuple[str, ...], set[str]] = {}
    for path in paths:
        for i, part in enumerate(path):
            inside.setdefault(path[:i], set()).add(part)
    short: dict[tuple[str, ...], str] = {}
    for scope, parts in inside.items():
        # Ranks have the same number of digits, so that 2 sorts before 10.
        digits, middle = len(str(len(parts) - 1)), ""
        while True:
            made = [f"{part[0]}{middle}{i:0{digits}}" for i, part in enumerate(sorted(parts))]
            if scope or not taken.intersection(made):
                break
            middle += "_"
        short |= {(*scope, part): name for part, name in zip(sorted(parts), made, strict=True)}
    return short


def _rename(function: Any, names: dict[str, str]) -> None:
    """Replaces names wherever the function refers to its nodes and arguments."""

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
