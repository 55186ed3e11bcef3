"""Lists of messages, names of tensors, and functions under other names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def keep_only(repeated: Any, kept: list[Any]) -> None:
    """Leaves only these messages in a repeated field, in this order."""
    copies = [type(message).FromString(message.SerializeToString()) for message in kept]
    del repeated[:]
    repeated.extend(copies)


def node_of(tensor: str) -> str:
    return tensor.lstrip("^").split(":")[0]


def rename_functions(meta: Any, new: Callable[[str], str]) -> None:
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
