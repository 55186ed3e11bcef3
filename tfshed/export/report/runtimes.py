"""Decides which runtimes can skip the zeros of a layer, and which conditions are not met."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras import layers as L

from tfshed.attach.keras3.private import graph_of, is_functional, nodes_of
from tfshed.attach.latency import PruneForLatencyOnXNNPack, is_dense_over_channels
from tfshed.export.report.kernel_rows import KernelRow, Verdict

# LiteRT's converter stores weights in blocks if at least this fraction of the zeros lies in whole
# blocks, and stores weights in full if less than this fraction of them is zero.
IN_BLOCKS, FEWEST_ZEROS = 0.9, 0.3
# XNNPACK runs 1x1 convolutions sparse if more than this fraction of all their weights is zero.
XNNPACK_ZEROS = 2 / 3
BLOCKS, XNNPACK, SHRINK = "LiteRT, blocks", "LiteRT, XNNPACK", "shrink"


@dataclasses.dataclass(frozen=True)
class Condition:
    """One of XNNPACK's conditions for sparse inference.

    Attributes:
        name: The condition in words.
        holds: Whether it holds. None if it depends on the processor that will run the model.
        found: What was found in the model.
    """

    name: str
    holds: bool | None
    found: str


def xnnpack_conditions(model: Any, rows: Sequence[tuple[KernelRow, Any]]) -> list[Condition]:
    """Checks XNNPACK's conditions for sparse inference.

    XNNPACK's function `xnn_subgraph_rewrite_for_nchw` puts a part of the graph in NCHW layout and
    runs its 1x1 convolutions sparse (Elsen et al. 2019, "Fast Sparse ConvNets", arXiv 1911.09723).
    The conditions are those of its code, and of the README of LiteRT's delegate, section "Sparse
    inference".
    """
    behind, why = behind_pooling(model), _why_not(model)
    pointwise = [row for row, x in rows if _is_pointwise(x) and id(x) not in behind]
    weights = sum(row.weights for row in pointwise)
    zeros = sum(row.weights - row.nonzero for row in pointwise) / max(weights, 1)
    return [
        Condition(
            "1x1 convolutions: stride 1, no groups, no dilation, no padding",
            bool(pointwise),
            f"{len(pointwise)} of {len(rows)} kernels",
        ),
        Condition(
            "more than 2/3 of their weights are zero",
            zeros > XNNPACK_ZEROS,
            f"{zeros:.2%}",
        ),
        Condition(
            "the part starts at a 3x3 convolution of stride 2 over 3 channels, padded by 1 on each "
            "side, ends at a global average pooling, and has in between only 1x1 and depthwise "
            "(3x3 or 5x5, stride 1 or 2, padded) convolutions, additions, multiplications, "
            "elementwise functions and bilinear resizing, but no other global pooling",
            not why,
            why or "it does",
        ),
        Condition(
            "float values, stored sparse (DENSIFY)",
            True,
            "export.litert writes this with values='float32' or 'float16'",
        ),
        Condition(
            "a processor with sparse kernels: ARM, WebAssembly, RISC-V; x86 only without AVX",
            None,
            _processor(),
        ),
    ]


def verdicts(
    row: KernelRow, layer: Any, conditions: Sequence[Condition], behind: set[int]
) -> tuple[Verdict, ...]:
    """Returns the verdicts on one kernel: which runtimes can skip its zeros."""
    found = [_blocks(row, layer)]
    if id(layer) in behind:
        reason = "it follows the global pooling, where XNNPACK's sparse part ends"
        found.append(Verdict(XNNPACK, False, reason))
    elif _is_pointwise(layer):
        failing = [c for c in conditions if c.holds is False]
        reason = "; ".join(f"not: {c.name} ({c.found})" for c in failing)
        fits = "on ARM, WebAssembly and RISC-V; x86 only without AVX"
        found.append(Verdict(XNNPACK, not failing, reason or fits))
    elif isinstance(layer, L.Conv2D):
        found.append(Verdict(XNNPACK, False, "XNNPACK has sparse kernels for 1x1 only"))
    if row.dead:
        reason = f"{row.dead} output channels are all zero; export.shrink removes what it can"
        found.append(Verdict(SHRINK, True, reason))
    return tuple(found)


def _why_not(model: Any) -> str:
    """Why XNNPACK runs nothing of the model sparse, as far as its layers tell; "" if it may."""
    try:
        PruneForLatencyOnXNNPack().ensure_model_supports_pruning(model)
    except ValueError as error:
        return str(error).removeprefix("pruning_policy: ")
    return ""


def behind_pooling(model: Any) -> set[int]:
    """The ids of the convolutions behind the pooling that ends the part that XNNPACK runs sparse.

    Without such a part there are none.
    """
    graph = graph_of(model)
    if not is_functional(graph) or _why_not(model):
        return set()
    pooled: set[int] = set()
    found: set[int] = set()
    for node in nodes_of(graph):
        behind = not node.is_input and any(id(tensor) in pooled for tensor in node.input_tensors)
        if behind or isinstance(node.operation, L.GlobalAveragePooling2D):
            pooled |= {id(tensor) for tensor in node.output_tensors}
        conv = isinstance(node.operation, L.Conv2D) or _is_pointwise(node.operation)
        if behind and conv:
            found.add(id(node.operation))
    return found


def _blocks(row: KernelRow, layer: Any) -> Verdict:
    why = None
    if not isinstance(layer, L.Dense):
        why = f"LiteRT's block kernel is for dense layers, not for {row.layer}"
    elif row.sparsity < FEWEST_ZEROS:
        why = f"less than {FEWEST_ZEROS:.0%} zeros"
    elif row.blocks is None:
        why = f"the number of inputs, {row.shape[0]}, is no multiple of 4"
    elif row.blocks < IN_BLOCKS:
        why = f"{row.blocks:.0%} of the zeros are in blocks of 4 inputs: prune with Block(4, 1)"
    if why is not None:
        return Verdict(BLOCKS, False, why)
    return Verdict(BLOCKS, True, "1x4 blocks, float32, small batches")


def _is_pointwise(layer: Any) -> bool:
    if not isinstance(layer, L.Conv2D):
        return is_dense_over_channels(layer)
    shape = (layer.kernel_size, layer.strides, layer.dilation_rate)
    return layer.groups == 1 and all(tuple(s) == (1, 1) for s in shape)


def _processor() -> str:
    """Describes this machine's processor, as far as it can be known."""
    machine = platform.machine() or "an unknown processor"
    if machine.lower() not in ("x86_64", "amd64", "i386", "i686"):
        return f"this machine: {machine}"
    flags = Path("/proc/cpuinfo")
    if not flags.exists():
        return f"this machine: {machine}, AVX unknown"
    avx = " avx " in f" {flags.read_text()} ".replace("\n", " ")
    return f"this machine: {machine} with{'' if avx else 'out'} AVX: {'no' if avx else 'yes'}"
