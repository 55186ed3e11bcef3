"""Custom gradients in a saved graph: finds, merges, renames and removes them.

A node with a custom gradient has the attribute `_gradient_op_type`, a name such as
"CustomGradient-258". The library's `registered_gradients` map this name to a function. The gradient
function reads tensors of the forward pass. In the object graph, each such tensor is a node of the
kind `captured_tensor`, which names the function and the tensor.
"""

from __future__ import annotations

from typing import Any

from tfshed.export.saved_model.shorten.messages import keep_only, nodes_of, rename_functions

ATTRIBUTE = "_gradient_op_type"
# New names must not look like TensorFlow's own, "CustomGradient-" and a number. A process that
# opens the graph without restoring its gradients may have a gradient of its own under such a name,
# and would silently compute with that one.
NAME = "CustomGradient-tfshed-{}"


def captured_tensors(objects: Any) -> dict[str, list[Any]]:
    """The messages of the object graph that name tensors of functions, by the function's name."""
    found: dict[str, list[Any]] = {}
    for thing in objects.nodes:
        if thing.HasField("captured_tensor"):
            captured = thing.captured_tensor
            found.setdefault(captured.concrete_function, []).append(captured)
    return found


def merge_forward_passes(meta: Any) -> None:
    """Merges functions that are equal apart from the names of their gradients, which are equal too.

    TensorFlow writes the forward pass of a model twice, each time with its own gradients, which
    read the tensors of their own forward pass. The second forward pass is not needed, as the
    tensors that its gradients read are in the first one under the same names.
    """
    library, objects = meta.graph_def.library, meta.object_graph_def
    functions = {f.signature.name: f for f in library.function}
    gradients = {
        g.registered_op_type.encode(): g.gradient_func for g in library.registered_gradients
    }
    captured = captured_tensors(objects)

    def described(gradient: bytes) -> bytes:
        """The body of a gradient's function and the tensors it reads, without unique names."""
        name = gradients.get(gradient)
        if name is None or name not in objects.concrete_functions:
            return gradient
        body = _copy(functions[name])
        body.signature.name = ""
        reads = []
        for node_id in objects.concrete_functions[name].bound_inputs:
            thing = objects.nodes[node_id]
            is_tensor = thing.HasField("captured_tensor")
            reads.append(thing.captured_tensor.name if is_tensor else str(node_id))
        return b"|".join([body.SerializeToString(deterministic=True), *map(str.encode, reads)])

    first: dict[bytes, str] = {}
    renamed: dict[str, str] = {}
    # Those that loaded objects have come first, for they are never dropped.
    for name in sorted(captured, key=lambda name: name not in objects.concrete_functions):
        body = _copy(functions[name])
        body.signature.name = ""
        for node in body.node_def:
            if ATTRIBUTE in node.attr:
                node.attr[ATTRIBUTE].s = described(node.attr[ATTRIBUTE].s)
        same = first.setdefault(body.SerializeToString(deterministic=True), name)
        if same != name and name not in objects.concrete_functions:
            renamed[name] = same
    keep_only(library.function, [f for n, f in functions.items() if n not in renamed])
    rename_functions(meta, lambda name: renamed.get(name, name))


def drop_unused_gradients(meta: Any) -> None:
    """Removes the registered gradients that no node uses, and their functions."""
    library, objects = meta.graph_def.library, meta.object_graph_def
    while True:  # the functions of gradients may have custom gradients themselves
        used = {n.attr[ATTRIBUTE].s for n in nodes_of(meta.graph_def) if ATTRIBUTE in n.attr}
        registered = list(library.registered_gradients)
        kept = [g for g in registered if g.registered_op_type.encode() in used]
        if len(kept) == len(registered):
            return
        gone = {g.gradient_func for g in registered} - {g.gradient_func for g in kept}
        keep_only(library.registered_gradients, kept)
        keep_only(library.function, [f for f in library.function if f.signature.name not in gone])
        for name in gone & set(objects.concrete_functions):
            del objects.concrete_functions[name]


def number_gradients(meta: Any) -> None:
    """Renames gradients by number, in the order of their functions."""
    library = meta.graph_def.library
    place = {f.signature.name: i for i, f in enumerate(library.function)}
    registered = sorted(library.registered_gradients, key=lambda g: place[g.gradient_func])
    names = {g.registered_op_type: NAME.format(i) for i, g in enumerate(registered)}
    keep_only(library.registered_gradients, registered)
    for gradient in library.registered_gradients:
        gradient.registered_op_type = names[gradient.registered_op_type]
    for node in nodes_of(meta.graph_def):
        old = node.attr[ATTRIBUTE].s.decode() if ATTRIBUTE in node.attr else ""
        if old in names:
            node.attr[ATTRIBUTE].s = names[old].encode()


def rename_captured(captured: list[Any], names: dict[str, str]) -> None:
    """Updates the tensors that gradients read of a function after its nodes were renamed."""
    for tensor in captured:
        node, colon, output = tensor.name.partition(":")
        tensor.name = names.get(node, node) + colon + output


def _copy(message: Any) -> Any:
    made = type(message)()
    made.CopyFrom(message)
    return made
