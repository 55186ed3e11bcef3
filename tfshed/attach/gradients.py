"""The gradients that a criterion looks at, for both Keras."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from keras import ops

from tfshed.attach.kernels import Kernel
from tfshed.core.backend import sum_over_replicas


def gradients_for_criterion(
    kernels: Sequence[Kernel], given: Mapping[Any, Any], key_of: Callable[[Any], Hashable]
) -> list[Any]:
    """One dense gradient for each kernel, summed over the replicas; zeros where there is none.

    Args:
        kernels: the kernels of a group.
        given: the gradients that the optimizer was given, by the key of their variable.
        key_of: the key of a variable.
    """
    found = []
    for kernel in kernels:
        grad = given.get(key_of(kernel.variable))
        if grad is None:
            found.append(ops.zeros(kernel.variable.shape, dtype="float32"))
        else:
            # An embedding's gradient names the rows that it changes; this makes it dense.
            found.append(sum_over_replicas(ops.convert_to_tensor(grad)))
    return found
