"""Small edits of a saved graph: lists of messages, names of tensors, names of functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def keep_only(repeated: Any, kept: list[Any]) -> None:
    """Reduces a repeated field to these messages, in this order."""
    copies = [type(message).FromString(message.SerializeToString()) for message in kept]
    del repeated[:]
    repeated.extend(copies)


def node_of(tensor: str) -> str:
    """The name of the node that a tensor comes from: "add" of "add:0" and of "^add"."""
    return tensor.lstrip("^").split(":")[0]


def rename_functions(meta: Any, new: Callable[[str], str]) -> None:
    """Renames functions in all places of a `MetaGraphDef` that name them.

    These places are the library with its two kinds of gradients, calls in nodes and attributes,
    and, in the object graph, the functions of objects and the tensors that gradients capture.
    """
    graph, objects = meta.graph_def, meta.object_graph_def
    concrete = objects.concrete_functions
    for function in graph.library.function:
        function.signature.name = new(function.signature.name)
    for gradient in graph.library.gradient:
        gradient.function_name = new(gradient.function_name)
        gradient.gradient_func = new(gradient.gradient_func)
    for registered in graph.library.registered_gradients:
        registered.gradient_func = new(registered.gradient_func)
    for attr in _attributes(graph):
        if attr.HasField("func"):
            attr.func.name = new(attr.func.name)
        for listed in attr.list.func:
            listed.name = new(listed.name)
    for node in nodes_of(graph):
        node.op = new(node.op)
    # All are saved before the first is written, as a new name may be another function's old one.
    saved = {name: type(f).FromString(f.SerializeToString()) for name, f in concrete.items()}
    concrete.clear()
    for name, function in saved.items():
        concrete[new(name)].CopyFrom(function)
    for thing in objects.nodes:
        if thing.HasField("function"):
            listed_names = [new(name) for name in thing.function.concrete_functions]
            del thing.function.concrete_functions[:]
            thing.function.concrete_functions.extend(listed_names)
        if thing.HasField("captured_tensor"):
            thing.captured_tensor.concrete_function = new(thing.captured_tensor.concrete_function)
        if thing.HasField("bare_concrete_function"):
            bare = thing.bare_concrete_function
            bare.concrete_function_name = new(bare.concrete_function_name)


def nodes_of(graph: Any) -> Iterator[Any]:
    """All nodes of a graph, including those within its functions."""
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def _attributes(graph: Any) -> Iterator[Any]:
    for node in nodes_of(graph):
        yield from node.attr.values()
    for function in graph.library.function:
        yield from function.attr.values()
