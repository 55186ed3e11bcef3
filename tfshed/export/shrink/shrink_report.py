"""The report of `tfshed.export.shrink`: what was removed, and what was not and why."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from keras import layers

from tfshed.attach.keras3.private import nodes_of
from tfshed.export.shrink import kernel_rules
from tfshed.export.shrink.solve import Solution
from tfshed.export.shrink.trace import Trace
from tfshed.observe.in_notebooks import ShownInNotebooks
from tfshed.observe.text_table import text_table


@dataclasses.dataclass(frozen=True)
class LayerRow:
    """One layer with weights, before and after shrinking.

    Attributes:
        name, layer: The name of the layer, and its class.
        filters: The number of output channels as (before, after). None if they are not known.
        parameters: The number of parameters as (before, after).
        flops: 2 x multiplications of its kernels on one example, over all of its uses, as (before,
            after). None if it is no dense or convolutional layer, or has open sizes.
    """

    name: str
    layer: str
    filters: tuple[int, int] | None
    parameters: tuple[int, int]
    flops: tuple[int, int] | None


@dataclasses.dataclass(frozen=True)
class NotRemoved:
    """Filters, or a whole layer, that could not be removed or shrunk.

    Attributes:
        name: The name of the layer.
        filters: The number of dead filters, whose output is constant, that were kept for this
            reason. 0 if the layer was not changed at all, because its use of channels is not
            known.
        reason: Why they were kept.
    """

    name: str
    filters: int
    reason: str


@dataclasses.dataclass(frozen=True, repr=False)
class ShrinkReport(ShownInNotebooks):
    """What `shrink` removed. `str()` gives a table.

    Attributes:
        name: The name of the model.
        rows: A list with a `LayerRow` for each layer with weights, in the order of the layers.
        left: A list with a `NotRemoved` for whatever had to be kept.
        parameters: The number of parameters of the whole model as (before, after).
        flops: 2 x multiplications on one example, over dense and convolutional layers, as (before,
            after). None if sizes are open.
        difference: The largest difference of the outputs on random inputs, relative to the largest
            output. None if not verified.
    """

    name: str
    rows: list[LayerRow]
    left: list[NotRemoved]
    parameters: tuple[int, int]
    flops: tuple[int, int] | None
    difference: float | None

    def to_dict(self) -> dict[str, Any]:
        """Returns all attributes as values that JSON can hold."""
        found = dataclasses.asdict(self)
        for row in (found, *found["rows"]):
            row.update({k: list(v) for k, v in row.items() if isinstance(v, tuple)})
        return found

    def __repr__(self) -> str:
        before, after = self.parameters
        return f"<ShrinkReport of {self.name}: {before:,} to {after:,} parameters>"

    def __str__(self) -> str:
        cells = []
        for row in self.rows:
            counts = [_change(x) for x in (row.filters, row.parameters, row.flops)]
            cells.append([row.name, row.layer, *counts])
        head = ["layer", "class", "filters", "parameters", "FLOPs"]
        total = ["total", "", "", _change(self.parameters), _change(self.flops)]
        table = text_table(head, cells, right=(2, 3, 4), footer=total)
        lines = [f"Shrinking of {self.name}", *table]
        if self.left:
            lines += ["", "not removed:"]
        for left in self.left:
            count = f"{left.filters} dead filter{'s' if left.filters > 1 else ''}"
            lines.append(f"  {left.name}: {count + ': ' if left.filters else ''}{left.reason}")
        if self.difference is None:
            return "\n".join([*lines, "outputs not compared"])
        return "\n".join([*lines, f"largest difference of the outputs: {self.difference:.1e}"])


def _change(counts: tuple[int, int] | None) -> str:
    if counts is None:
        return ""
    before, after = counts
    return f"{before:,}" if before == after else f"{before:,} -> {after:,}"


def _is_layer(operation: Any) -> bool:
    """Whether the report may list it: plain operations and inputs have no weights."""
    return isinstance(operation, layers.Layer) and not isinstance(operation, layers.InputLayer)


def report(
    model: Any, new: Any, functional: Any, trace: Trace, found: Solution, difference: float | None
) -> ShrinkReport:
    """Makes the report after shrinking.

    Args:
        model, new: The model and the smaller one.
        functional: The graph of the model.
        trace: What was found out about its channels.
        found: Which channels were removed.
        difference: The measured difference of the outputs, or None.
    """
    after = {layer.name: layer for layer in new.layers}
    nodes: dict[int, list[Any]] = {}
    for node in nodes_of(functional):
        nodes.setdefault(id(node.operation), []).append(node)
    rows = []
    for layer in model.layers:
        if _is_layer(layer) and layer.count_params():
            rows.append(_row(layer, after[layer.name], nodes[id(layer)], trace, found))
    counted = [r.flops for r in rows if r.layer in kernel_rules.COUNTED]
    sums = None if None in counted else tuple(sum(f[i] for f in counted if f) for i in (0, 1))
    return ShrinkReport(
        model.name,
        rows,
        _left(trace, found),
        (model.count_params(), new.count_params()),
        sums,  # type: ignore[arg-type]
        difference,
    )


def _row(layer: Any, new: Any, nodes: list[Any], trace: Trace, found: Solution) -> LayerRow:
    filters = None
    if id(layer) in trace.resizes and id(layer) not in trace.opaque:
        ids = trace.channels[id(nodes[0].outputs[0])].ids
        filters = (len(ids), int(found.keep(ids).sum()))
    flops = None
    if type(layer).__name__ in kernel_rules.COUNTED:
        old = [kernel_rules.flops(layer, node) for node in nodes]
        if None not in old:
            size = [
                sum(int(np.prod(v.shape)) for v in x.weights if v.name.endswith("kernel"))
                for x in (layer, new)
            ]
            before = sum(f or 0 for f in old)
            flops = (before, before // size[0] * size[1])
    return LayerRow(
        layer.name,
        type(layer).__name__,
        filters,
        (layer.count_params(), new.count_params()),
        flops,
    )


def _left(trace: Trace, found: Solution) -> list[NotRemoved]:
    reasons = _reasons(trace, found)
    counts: dict[tuple[str, str], set[int]] = {}
    for layer, ids in trace.dead:
        for i in ids[found.keep(ids)]:
            key = (layer.name, reasons[int(found.labels[i])])
            counts.setdefault(key, set()).add(int(i))
    left = [NotRemoved(name, len(ids), reason) for (name, reason), ids in counts.items()]
    for layer, why in trace.opaque.values():
        if _is_layer(layer) and layer.count_params():
            left.append(NotRemoved(layer.name, 0, f"{type(layer).__name__}: {why}"))
    return left


def _reasons(trace: Trace, found: Solution) -> dict[int, str]:
    """The reason for each group of channels that was kept."""
    reasons = dict(found.kept_for)
    for ids, reason in trace.blocks:
        for label in np.unique(found.labels[ids]):
            reasons.setdefault(int(label), reason)
    lost: dict[int, str] = {}
    for ids, reason in trace.lost:
        for label in np.unique(found.labels[ids]):
            lost[int(label)] = reason
    for c in trace.consumers.values():
        used = c.uses[:, found.keep(c.outputs)].any(axis=1)
        for i in np.flatnonzero(used & ~c.foldable):
            label = int(found.labels[c.inputs[i]])
            padded = f"it is a constant other than 0 at the padding of {c.layer.name}"
            tied = f"it can only be removed with a channel that {c.layer.name} uses"
            reasons.setdefault(label, lost.get(label, tied) if np.isnan(c.const[i]) else padded)
    return reasons
