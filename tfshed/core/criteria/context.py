"""The values that a criterion can read when it scores the elements of one kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from tfshed.core.backend import INT32_MAX, read
from tfshed.core.granularity import Axes, Granularity


class Context:
    """One kernel in one optimizer step, as a criterion sees it.

    Attributes:
        granularity: The granularity, which says what is kept or pruned as a whole.
        axes: The kernel's channel axes.
        step: int32 scalar, the number of optimizer steps so far, this one included.
        position: int, the number of elements of all kernels before this one in the model. So
            `position` + flat index (modulo 2^31) is different for all elements of the model,
            whatever the scope and however many declarations there are.
        state: The criterion's own arrays, by the names in its `keeps`: float32, in the mask's
            shape.
    """

    def __init__(
        self,
        weight: Any,
        granularity: Granularity,
        axes: Axes,
        step: Any,
        position: int = 0,
        gradient: Any = None,
        slots: Mapping[str, Any] | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self.granularity, self.axes, self.step, self.position = granularity, axes, step, position
        self.state = dict(state or {})
        self._weight, self._gradient, self._slots = weight, gradient, slots

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the kernel's mask, which the scores must have too."""
        return self.granularity.mask_shape(tuple(self._weight.shape), self.axes)

    @property
    def weight(self) -> Any:
        """The kernel before the inner optimizer's step: float32, in the kernel's shape.

        With `monotone=False`, masks are chosen after that step, and this is the kernel after it.
        """
        return ops.cast(read(self._weight), "float32")

    @property
    def magnitudes(self) -> Any:
        """The magnitude of each element: float32 >= 0, in the mask's shape."""
        return self.granularity.magnitudes(read(self._weight), self.axes)

    @property
    def gradient(self) -> Any:
        """The gradient of the loss by the kernel: float32, in the kernel's shape.

        It is dense: pruned weights have a gradient too. It is the gradient that the optimizer
        received in this step, before clipping. With mixed precision it is unscaled, under a
        strategy it is summed over the replicas, and with gradient accumulation it is that of the
        current batch. It is zero for a kernel on which the loss does not depend.

        Raises:
            AttributeError: The criterion does not declare `needs = ("gradient",)`.
        """
        if self._gradient is None:
            raise AttributeError('gradient: expected a criterion with needs = ("gradient",)')
        return ops.cast(self._gradient, "float32")

    @property
    def slots(self) -> Mapping[str, Any]:
        """The inner optimizer's state for this kernel, before its step: tensors by name.

        The names are the optimizer's own: "momentum" for SGD, "momentum" and "velocity" for Adam.

        Raises:
            AttributeError: The criterion does not declare `needs = ("slots",)`.
        """
        if self._slots is None:
            raise AttributeError('slots: expected a criterion with needs = ("slots",)')
        return {name: read(value) for name, value in self._slots.items()}

    def total(self, values: Any) -> Any:
        """Returns the sum of `values` over the weights of each element, in the mask's shape.

        Args:
            values: A tensor of the kernel's shape.
        """
        return self.granularity.total(values, self.axes)

    def positions(self) -> Any:
        """Returns a number for each element that is unique in the model: int32 >= 0.

        In a model of more than 2^31 elements, some numbers occur twice.
        """
        flat = ops.arange(int(np.prod(self.shape)), dtype="int32") + self.position % (INT32_MAX + 1)
        return ops.reshape(ops.bitwise_and(flat, INT32_MAX), self.shape)
