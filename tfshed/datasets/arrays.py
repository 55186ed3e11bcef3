"""Data held in memory."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfshed.datasets import fingerprint
from tfshed.datasets.reading_plan import ReadingPlan, share, subset

# Data decoded to no more than this are held in memory, bytes.
IN_MEMORY = 1 << 30


class ArraySource:
    """Images and labels of one split as arrays.

    With TensorFlow they are batched by `tf.data` on the CPU. With JAX and PyTorch they lie on the
    device and are batched there, without TensorFlow; the order of the examples is the same.

    Args:
        examples: number of them.
        read: returns (images uint8 (n, h, w, c), labels int32 (n,)); called once, when needed.
        shape: (height, width, channels) of the images given out.
    """

    def __init__(
        self,
        examples: int,
        read: Callable[[], tuple[np.ndarray, np.ndarray]],
        shape: tuple[int, int, int],
    ):
        self.examples = examples
        self._read: Callable[[], tuple[np.ndarray, np.ndarray]] | None = read
        self._size = shape[:2]
        self._held: Any = None

    def count(self, fraction: float) -> int:
        return share(self.examples, fraction)

    def fingerprint(self) -> str:
        return fingerprint.of_arrays(self._arrays().arrays())

    def explain(self) -> list[str]:
        # Arrays were looked at when they were read.
        return []

    def train(self, plan: ReadingPlan) -> Any:
        return self._arrays().train(plan)

    def evaluation(self, batch: int, shard: tuple[int, int], fraction: float) -> Any:
        return self._arrays().evaluation(batch, shard, fraction)

    def divided(self, fraction: float) -> tuple[ArraySource, ArraySource]:
        """Two sources: all but a fraction of the examples, and that fraction, evenly over classes.

        Raises:
            ValueError: one of them would be empty.
        """
        images, labels = self._arrays().arrays()
        held = np.zeros(len(labels), bool)
        held[subset(labels, fraction)] = True
        if held.all():
            raise ValueError(
                f"held_out: expected a fraction that leaves examples to train on, received "
                f"{fraction:g} of {len(labels)}"
            )
        height, width = self._size
        shape = (height, width, images.shape[3])
        parts = ((images[chosen], labels[chosen]) for chosen in (~held, held))
        first, second = (ArraySource(len(p[1]), functools.partial(_given, p), shape) for p in parts)
        return first, second

    def with_label_noise(self, fraction: float, classes: int, seed: int) -> ArraySource:
        """The same images, of which a fraction has another class in place of its own.

        Args:
            fraction: in (0, 1).
            classes: the number of classes, at least 2.
            seed: which examples, and which classes.
        """
        images, labels = self._arrays().arrays()
        noisy = relabelled(labels, fraction, classes, seed)
        shape = (*self._size, images.shape[3])
        return ArraySource(len(labels), functools.partial(_given, (images, noisy)), shape)

    def _arrays(self) -> Any:
        if self._held is None:
            kind: Any
            if keras.backend.backend() == "tensorflow":
                from tfshed.datasets.tf_data.arrays import TensorFlowArrays as kind
            else:
                from tfshed.datasets.device_arrays import DeviceArrays as kind
            assert self._read is not None
            self._held = kind(*self._read(), self._size)
            # It may hold the arrays, which have been copied.
            self._read = None
        return self._held


def _given(arrays: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return arrays


def relabelled(labels: np.ndarray, fraction: float, classes: int, seed: int) -> np.ndarray:
    """Labels of which a fraction, chosen by chance, is replaced by another class.

    Args:
        labels: ints of shape (examples,), from 0 to classes - 1.
        fraction: of the examples, in (0, 1); rounded to whole examples.
        classes: the number of classes, at least 2. The other ones are equally likely.
        seed: an int >= 0.

    >>> import numpy as np
    >>> found = relabelled(np.zeros(10, "int32"), 0.3, classes=4, seed=0)
    >>> int((found != 0).sum()), found.dtype.name
    (3, 'int32')
    """
    random = np.random.default_rng(seed)
    chosen = random.permutation(len(labels))[: round(fraction * len(labels))]
    found = np.array(labels)
    found[chosen] = (found[chosen] + random.integers(1, classes, len(chosen))) % classes
    return found
