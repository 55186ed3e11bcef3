"""`PruneForLatencyOnXNNPack`: prune what XNNPACK's sparse inference can make use of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras
from keras import layers as L

from tfshed.attach.keras3.private import graph_of, is_functional, nodes_of
from tfshed.attach.policies import PruningPolicy
from tfshed.attach.which_keras import is_tf_keras

ACTIVATIONS = (
    *("relu", "relu6", "leaky_relu", "elu", "sigmoid", "tanh", "linear"),
    *("silu", "hard_silu"),  # also known as swish and hard_swish
)
ELEMENTWISE = (L.Add, L.Multiply, L.ZeroPadding2D, L.ReLU, L.LeakyReLU, L.ELU, L.Dropout)
# Operations of `keras.ops` in a functional model.
OPERATIONS = ("Add", "Multiply", "Identity", "Relu", "Relu6", "LeakyRelu", "Elu")


class PruneForLatencyOnXNNPack(PruningPolicy):
    """Prunes 1x1 convolutions, in models that XNNPACK can run sparse; tfmot's policy.

    A `Dense` over the channels of an image counts as one: `export.litert` writes it so.

    Each input must lead to a 3x3 convolution of stride 2 over 3 channels, valid, after a
    `ZeroPadding2D(1)`. Each output must come from a `GlobalAveragePooling2D`. Between them there
    may be only what XNNPACK runs in that mode, and no other pooling. What is behind the pooling
    runs dense. The policy differs from tfmot's in what was seen to run: it refuses subtractions and
    squeeze-and-excitation, with which XNNPACK runs nothing sparse, and takes more activations.

    More than two thirds of the weights of the model's 1x1 convolutions have to be zero. Which
    blocks are worth it depends on the processor: single weights or `Block(4, 1)` in browsers
    (WebAssembly) and on 32-bit ARM, single weights or `Block(1, 4)` on 64-bit ARM; x86 with AVX
    runs nothing sparse.

    Raises:
        ValueError: by `prune_low_magnitude`, naming the layer that does not fit; nothing has been
            changed then.

    Source: Elsen et al. 2019, "Fast Sparse ConvNets" (arXiv 1911.09723), and XNNPACK's
    `xnn_subgraph_rewrite_for_nchw` (src/subgraph.c).

    >>> import keras
    >>> policy = PruneForLatencyOnXNNPack()
    >>> [policy.allow_pruning(keras.layers.Conv2D(8, size)) for size in (1, 3)]
    [True, False]
    """

    def allow_pruning(self, layer: Any) -> bool:
        """Whether the layer is a convolution of size 1x1, or a `Dense` that is used as one."""
        if is_tf_keras(layer):
            return bool(_tfmot().allow_pruning(layer))
        # Depthwise ones have a class of their own, not derived from this one.
        if isinstance(layer, L.Conv2D):
            return tuple(layer.kernel_size) == (1, 1)
        return is_dense_over_channels(layer)

    def ensure_model_supports_pruning(self, model: Any) -> None:
        """Raises ValueError unless XNNPACK runs the model sparse from its start to its pooling."""
        if is_tf_keras(model):
            _tfmot().ensure_model_supports_pruning(model)
            return
        functional = graph_of(model)
        if not is_functional(functional):
            raise ValueError(
                "pruning_policy: expected a built Sequential or functional model, received "
                f"{type(model).__name__} {model.name}"
            )
        graph = _Graph(functional)
        starts = _first(graph.inputs, lambda op: _starts(op, graph), graph.consumers)
        if not starts:
            raise ValueError(
                f"pruning_policy: expected in every branch from the inputs of {model.name} a "
                "Conv2D with kernel_size=3, strides=2, padding='valid' over 3 channels, after a "
                "ZeroPadding2D(1); found a branch without"
            )
        pools = lambda op: isinstance(op, L.GlobalAveragePooling2D)  # noqa: E731
        ends = _first(graph.outputs, pools, graph.producers)
        if not ends:
            raise ValueError(
                f"pruning_policy: expected in every branch to the outputs of {model.name} a "
                "GlobalAveragePooling2D; found a branch without"
            )

        def ends_or_fits(op: Any) -> bool:
            if op not in ends and isinstance(op, L.GlobalAveragePooling2D):
                raise ValueError(
                    "pruning_policy: expected global poolings behind all other layers that "
                    f"XNNPACK is to run sparse, received {op.name} inside of {model.name}, as in "
                    "squeeze-and-excitation. XNNPACK runs nothing of such a model sparse: leave "
                    "these blocks out, as tfshed.models' sparse_mobilenet_v3_small does"
                )
            if op not in ends and not _fits(op, graph):
                raise ValueError(
                    "pruning_policy: expected layers that XNNPACK runs sparse, received "
                    f"{type(op).__name__} {op.name} in {model.name}"
                )
            return op in ends

        _first([c for op in starts for c in graph.consumers(op)], ends_or_fits, graph.consumers)


def is_dense_over_channels(layer: Any) -> bool:
    """Whether it is a `Dense` whose input has a height, a width and channels."""
    if not isinstance(layer, L.Dense):
        return False
    try:
        return len(layer.input.shape) == 4
    except (AttributeError, ValueError):  # it was not called yet, or several times
        return False


def _tfmot() -> Any:
    from tfshed.attach.tf_keras import real as _real

    return _real.sparsity.PruneForLatencyOnXNNPack()


class _Graph:
    """Which operation feeds which, nested models taken apart and wrappers taken off."""

    def __init__(self, functional: Any):
        self._into: dict[int, list[Any]] = {}
        self._out_of: dict[int, list[Any]] = {}
        self.inputs: list[Any] = []
        self.outputs = self._walk(functional, [None] * len(functional.inputs))

    def _walk(self, functional: Any, sources: list[Any]) -> list[Any]:
        made = {id(tensor): source for tensor, source in zip(functional.inputs, sources)}
        for node in nodes_of(functional):
            if node.is_input:
                continue
            before = [made[id(tensor)] for tensor in node.input_tensors]
            operation = graph_of(node.operation)
            if is_functional(operation):
                results = self._walk(operation, before)
            else:
                # A pruning wrapper stands for its layer.
                wrapped = hasattr(operation, "chosen_kernels")
                one = operation.layer if wrapped else operation
                self._connect(before, one)
                results = [one] * len(node.output_tensors)
            made |= {id(tensor): r for tensor, r in zip(node.output_tensors, results)}
        return [made[id(tensor)] for tensor in functional.outputs]

    def _connect(self, before: list[Any], operation: Any) -> None:
        self._into.setdefault(id(operation), [])
        for source in before:
            if source is None:
                self.inputs.append(operation)
            else:
                self._into[id(operation)].append(source)
                self._out_of.setdefault(id(source), []).append(operation)

    def producers(self, operation: Any) -> list[Any]:
        return self._into.get(id(operation), [])

    def consumers(self, operation: Any) -> list[Any]:
        return self._out_of.get(id(operation), [])


def _first(
    begin: Iterable[Any], stop: Callable[[Any], bool], onward: Callable[[Any], list[Any]]
) -> list[Any]:
    """The first operation on each path from `begin` where `stop` holds; [] if a path has none."""
    found, waiting, seen = [], list(begin), set()
    while waiting:
        operation = waiting.pop()
        if operation is None or id(operation) in seen:
            continue
        seen.add(id(operation))
        if stop(operation):
            found.append(operation)
        elif not onward(operation):
            return []
        else:
            waiting += onward(operation)
    return found


def _padded_by(operation: Any, graph: _Graph, size: int) -> bool:
    before = graph.producers(operation)
    square = ((size, size), (size, size))
    return (
        len(before) == 1
        and isinstance(before[0], L.ZeroPadding2D)
        and tuple(map(tuple, before[0].padding)) == square
    )


def _starts(operation: Any, graph: _Graph) -> bool:
    return (
        isinstance(operation, L.Conv2D)
        and tuple(operation.kernel.shape[:3]) == (3, 3, 3)
        and tuple(operation.strides) == (2, 2)
        and operation.padding == "valid"
        and _padded_by(operation, graph, 1)
    )


def _fits(operation: Any, graph: _Graph) -> bool:
    """What XNNPACK's sparse inference runs, as tfmot lists it."""
    if isinstance(operation, ELEMENTWISE):
        return True
    if isinstance(operation, L.Conv2D | L.DepthwiseConv2D | L.Dense | L.Activation) and (
        keras.activations.serialize(operation.activation) not in ACTIVATIONS
    ):
        return False
    if isinstance(operation, L.DepthwiseConv2D):
        size, strides = tuple(operation.kernel_size), tuple(operation.strides)
        if size not in ((3, 3), (5, 5)) or strides not in ((1, 1), (2, 2)):
            return False
        if operation.depth_multiplier != 1 or tuple(operation.dilation_rate) != (1, 1):
            return False
        if operation.padding == "same":
            return strides == (1, 1)
        return operation.padding == "valid" and _padded_by(operation, graph, size[0] // 2)
    if isinstance(operation, L.Conv2D):
        shape = (operation.kernel_size, operation.strides, operation.dilation_rate)
        return operation.groups == 1 and all(tuple(s) == (1, 1) for s in shape)
    if isinstance(operation, L.Dense):
        return is_dense_over_channels(operation)
    if isinstance(operation, L.BatchNormalization):
        return operation.axis in (-1, 3)
    if isinstance(operation, L.UpSampling2D):
        return bool(operation.interpolation == "bilinear")
    if isinstance(operation, L.Activation):
        return True
    return not isinstance(operation, L.Layer) and type(operation).__name__ in OPERATIONS
