"""Which 1x1 convolutions of a LiteRT file XNNPACK runs sparse, by XNNPACK's own rules.

XNNPACK is LiteRT's engine on CPUs. Where it has sparse kernels (ARM, WebAssembly, RISC-V, x86
without AVX) it looks, in files that store any weights sparse, for parts of the graph that it can
compute with the channels first (NCHW). A part begins at a 3x3 convolution of stride 2 over 3
channels and ends at a global pooling. If more than two thirds of the weights of the part's 1x1
convolutions are zero, all of them run sparse, also those that are stored in full.

The rules are those of `xnn_subgraph_rewrite_for_nchw` (XNNPACK, src/subgraph.c) in the versions
inside LiteRT.js 2.5.3 and ai-edge-litert 2.3, and of Elsen et al. 2019, "Fast Sparse ConvNets"
(arXiv 1911.09723).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from tfshed.export.litert.flatbuffer import (
    UNPACKING,
    WeightUse,
    data,
    element,
    kind,
    weight_uses,
)
from tfshed.export.litert.xnnpack_roles import (
    ENDS,
    INSIDE,
    OUTSIDE,
    STARTS,
    is_pointwise,
    role,
)


@dataclasses.dataclass(eq=False)
class _Node:
    """An operator with a padding in front of it that XNNPACK makes one with it.

    Attributes:
        operator: the `OperatorT`.
        inputs: tensors that it takes, without constants.
        role: one of STARTS, INSIDE, ENDS, OUTSIDE.
        why: for OUTSIDE: what keeps it out.
        part: a name for the part that it belongs to, shared with its neighbours in it.
        broken: why its part cannot run sparse, "" if it can.
    """

    operator: Any
    inputs: list[int]
    role: str
    why: str
    part: int
    broken: str = ""

    @property
    def output(self) -> int:
        return int(self.operator.outputs[0])


@dataclasses.dataclass(frozen=True)
class SparsePart:
    """Operators that XNNPACK computes together with the channels first, if enough weights are zero.

    Attributes:
        convolutions: its 1x1 convolutions, as `WeightUse`.
        weights, zeros: of all its 1x1 convolutions.
        starts: the convolutions that it begins with.
        poolings: poolings whose output stays inside of it. XNNPACK then gets the sizes wrong and
            cannot prepare the file.
        leaks: operators that are no poolings and whose output leaves it. XNNPACK leaves the
            channels first there, and outputs of the file are wrong.
    """

    convolutions: list[WeightUse]
    weights: int
    zeros: int
    starts: list[Any]
    poolings: list[Any]
    leaks: list[Any]

    @property
    def sparse(self) -> bool:
        """Whether XNNPACK runs its 1x1 convolutions sparse."""
        return 3 * self.zeros > 2 * self.weights and not self.poolings and not self.leaks


def sparse_parts(model: Any) -> list[SparsePart]:
    """The parts of a file that fit XNNPACK's rules, those with too few zeros among them.

    Without sparse storage of any weights (DENSIFY) XNNPACK looks for none.
    """
    stored = weight_uses(model)
    if not any(use.block for use in stored):
        return []
    found = []
    for graph in model.subgraphs:
        nodes = _connected(model, graph)
        by_operator = {id(use.operator): use for use in stored if use.graph is graph}
        for part in sorted({node.part for node in nodes if node.role in (INSIDE, ENDS)}):
            inside = [node for node in nodes if node.part == part]
            if not any(node.broken for node in inside):
                found.append(_part(model, graph, inside, by_operator))
    return found


def _part(model: Any, graph: Any, inside: list[_Node], stored: dict[int, WeightUse]) -> SparsePart:
    taken = {i for node in inside if node.role in (INSIDE, ENDS) for i in node.inputs}
    outputs = {int(i) for i in graph.outputs}
    convolutions = [
        stored[id(node.operator)]
        for node in inside
        if is_pointwise(model, graph, node.operator) and id(node.operator) in stored
    ]
    counts = [_count(model, use) for use in convolutions]
    poolings = [node for node in inside if node.role == ENDS and node.output in taken]
    behind = {node.output for node in poolings}
    leaks = []
    for node in inside:
        # What is behind a pooling has one place for each channel: there is no order to get wrong.
        leaves = node.output in outputs or node.output not in taken
        if node.role == INSIDE and leaves and not behind & set(node.inputs):
            leaks.append(node.operator)
    return SparsePart(
        convolutions,
        sum(weights for weights, _ in counts),
        sum(zeros for _, zeros in counts),
        [node.operator for node in inside if node.role == STARTS],
        [node.operator for node in poolings],
        leaks,
    )


def why_dense(model: Any) -> dict[int, str]:
    """For each 1x1 convolution, by the id of its operator: why XNNPACK runs it dense, "" if sparse.

    Other operators are not in it: XNNPACK has no sparse kernels for them.
    """
    found: dict[int, str] = {}
    for graph in model.subgraphs:
        nodes = _connected(model, graph)
        for node in nodes:
            if is_pointwise(model, graph, node.operator):
                broken = [n.broken for n in nodes if n.part == node.part and n.broken]
                found[id(node.operator)] = (
                    node.why or (broken or ["no global pooling behind it"])[0]
                )
    if not any(use.block for use in weight_uses(model)):
        return dict.fromkeys(found, "no weights of the file are stored sparse")
    for part in sparse_parts(model):
        share = part.zeros / max(part.weights, 1)
        why = f"{share:.2%} of the weights of its part's 1x1 convolutions are zero, not over 2/3"
        for use in part.convolutions:
            found[id(use.operator)] = "" if part.sparse else why
    return found


def _connected(model: Any, graph: Any) -> list[_Node]:
    """The graph's operators with their roles and parts."""
    nodes = list(_nodes(model, graph))
    producer = {node.output: node for node in nodes}
    readers: dict[int, list[_Node]] = {}
    for node in nodes:
        for index in set(node.inputs):
            readers.setdefault(index, []).append(node)
    for node in nodes:
        if node.role in (STARTS, OUTSIDE):
            continue
        for index in node.inputs:
            before = producer.get(index)
            if before is None:
                node.broken = "it takes an input of the model"
            elif before.role == OUTSIDE:
                node.broken = f"{_name(graph, before)} before it: {before.why}"
            elif before.broken:
                node.broken = before.broken
            else:
                _join(nodes, node.part, before.part)
    for node in nodes:
        if node.role not in (INSIDE, ENDS):
            continue
        for index in node.inputs:
            other = next((n for n in readers[index] if n.role not in (INSIDE, ENDS)), None)
            if other is not None and not node.broken:
                reads = f"{_name(graph, other)} reads what is inside of its part"
                node.broken = f"{reads}: {other.why}" if other.why else reads
    # XNNPACK looks for no parts at all in a graph without a pooling that might end one.
    ends = [producer.get(index) for node in nodes if node.role == ENDS for index in node.inputs]
    if not any(before is not None and before.role in (STARTS, INSIDE) for before in ends):
        for node in nodes:
            node.broken = node.broken or "there is no global pooling behind it"
    return nodes


def _join(nodes: list[_Node], a: int, b: int) -> None:
    for node in nodes:
        if node.part == b:
            node.part = a


def _nodes(model: Any, graph: Any) -> Iterator[_Node]:
    """One node for each operator, without those that unpack weights or pad for a convolution."""
    readers: dict[int, int] = {}
    for operator in graph.operators:
        for index in [] if operator.inputs is None else operator.inputs:
            readers[int(index)] = readers.get(int(index), 0) + 1
    constant = {i for i, tensor in enumerate(graph.tensors) if data(model, tensor) is not None}
    paddings: dict[int, tuple[int, int]] = {}  # a padded tensor: what it is of, and how wide
    for number, operator in enumerate(graph.operators):
        name = kind(model, operator)
        if operator.outputs is None or not len(operator.outputs):
            continue  # it fills a table
        given = [] if operator.inputs is None else operator.inputs
        inputs = [int(i) for i in given if i >= 0 and int(i) not in constant]
        if name in UNPACKING and not inputs:
            constant.add(int(operator.outputs[0]))
            continue
        padded = int(operator.outputs[0])
        if name == "PAD" and readers.get(padded) == 1 and padded not in set(graph.outputs):
            width = _square_padding(model, graph, operator)
            if width is not None and len(inputs) == 1:
                paddings[padded] = (inputs[0], width)
                continue
        width = 0
        if name in ("CONV_2D", "DEPTHWISE_CONV_2D") and inputs and inputs[0] in paddings:
            inputs[0], width = paddings[inputs[0]]
        what, why = role(model, graph, operator, width)
        yield _Node(operator, inputs, what, why, number)


def _square_padding(model: Any, graph: Any, operator: Any) -> int | None:
    """By how much height and width are padded on each side; None: otherwise."""
    raw = data(model, graph.tensors[int(operator.inputs[1])])
    if raw is None:
        return None
    kind_of = element(graph.tensors[int(operator.inputs[1])])
    sides = raw.view(kind_of).reshape(-1, 2)
    if len(sides) != 4 or sides[[0, 3]].any() or len(set(sides[1:3].ravel().tolist())) != 1:
        return None
    return int(sides[1, 0])


def _count(model: Any, use: WeightUse) -> tuple[int, int]:
    """How many weights there are, and how many are zero."""
    size = int(np.prod(use.tensor.shape))
    stored = data(model, use.tensor)
    assert stored is not None  # `uses` gives no others
    return size, size - int(np.count_nonzero(stored.view(element(use.tensor))))


def _name(graph: Any, node: _Node) -> str:
    name = graph.tensors[int(node.operator.outputs[0])].name.decode()
    return name.split(";")[0].split("/")[-2] if "/" in name.split(";")[0] else name.split(";")[0]
