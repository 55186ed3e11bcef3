"""Data held on the device, batched there by `keras.ops`: no TensorFlow, and no copies per step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from tfshed.core.backend import to_numpy
from tfshed.datasets import device_augment, stateless_random
from tfshed.datasets.augmentations import PAD
from tfshed.datasets.reading_plan import AUGMENT, SHUFFLE, ReadingPlan, part, subset


class Batches(keras.utils.PyDataset):
    """So many batches, each a function of its number; what `fit` and `evaluate` take.

    Args:
        make: returns the batch of a number, a tuple.
        first, last: the numbers go from `first` to `last` - 1.
        element_spec: shapes and types of a batch; a size that varies is None.
    """

    def __init__(
        self, make: Callable[[int], tuple[Any, Any]], first: int, last: int, element_spec: Any
    ):
        super().__init__()
        self._make, self._first, self._last = make, first, last
        self.element_spec = element_spec

    def __len__(self) -> int:
        return self._last - self._first

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"expected a batch from 0 to {len(self) - 1}, received {index}")
        return self._make(self._first + index)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return (self[i] for i in range(len(self)))

    def take(self, count: int) -> Batches:
        """The first `count` batches."""
        last = min(self._last, self._first + count)
        return Batches(self._make, self._first, last, self.element_spec)

    def skip(self, count: int) -> Batches:
        """The batches after the first `count`."""
        first = min(self._last, self._first + count)
        return Batches(self._make, first, self._last, self.element_spec)


class DeviceArrays:
    """Images and labels as tensors on the device.

    Args:
        images: uint8 of shape (n, height, width, channels).
        labels: int32 of shape (n,).
        size: height and width of the images given out.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, size: tuple[int, int]):
        self._size, self._numbers = size, labels
        self._images = ops.convert_to_tensor(images)
        self._labels = ops.convert_to_tensor(labels.astype("int32"))

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """The images and labels."""
        return to_numpy(self._images), self._numbers

    def train(self, plan: ReadingPlan) -> Batches:
        """The batches of a run that are left."""
        order = _Order(plan, subset(self._numbers, plan.fraction))
        view = _compiled(_training_view(plan.augmentation, self._size))

        def make(number: int) -> tuple[Any, Any]:
            epoch, step = divmod(number, plan.steps)
            draws = self._draws(plan, epoch, step)
            return view(self._images, self._labels, order.batch(epoch, step), *draws)

        return Batches(make, plan.start_step, plan.epochs * plan.steps, self._spec(plan.local))

    def _draws(self, plan: ReadingPlan, epoch: int, step: int) -> list[np.ndarray]:
        """What chance decides about a batch: windows, corners, and which images are mirrored."""
        found: list[np.ndarray] = []
        if plan.augmentation == "none":
            return found
        key = stateless_random.whole(epoch_seed(plan.seed, epoch, AUGMENT))
        first = plan.shard[0] * plan.local
        if plan.augmentation == "crop_flip":
            height, width = self._images.shape[1:3]
            start = step * plan.batch + first
            seeds = [(key, place) for place in range(start, start + plan.local)]
            found.append(device_augment.crop_windows(height, width, seeds))
        # Drawn for the batch of all workers, so that an image's do not depend on their number.
        draws = stateless_random.uniform((key + 1, step), plan.batch * 3).reshape(-1, 3)
        draws = draws[first : first + plan.local]
        if plan.augmentation == "pad_crop_flip":
            found.append((draws[:, :2] * np.float32(2 * PAD + 1)).astype(np.int32))
        return [*found, draws[:, 2] < 0.5]

    def evaluation(self, batch: int, shard: tuple[int, int], fraction: float) -> Batches:
        """This worker's examples, each once and in order."""
        chosen = subset(self._numbers, fraction).astype(np.int32)
        low, high = part(len(chosen), shard)
        chosen = chosen[low:high]
        view = _compiled(_training_view("none", self._size))

        def make(number: int) -> tuple[Any, Any]:
            ids = chosen[number * batch : (number + 1) * batch]
            return view(self._images, self._labels, ids)

        return Batches(make, 0, -(-len(chosen) // batch), self._spec(None))

    def _spec(self, count: int | None) -> Any:
        shape = (count, *self._size, int(self._images.shape[3]))
        return keras.KerasTensor(shape, "uint8"), keras.KerasTensor((count,), "int32")


class _Order:
    """Which examples come in which batch; an epoch's order is kept until another is asked for."""

    def __init__(self, plan: ReadingPlan, examples: np.ndarray):
        self._plan, self._examples = plan, examples
        self._epoch: int | None = None

    def batch(self, epoch: int, step: int) -> np.ndarray:
        plan = self._plan
        if epoch != self._epoch:
            seed = epoch_seed(plan.seed, epoch, SHUFFLE)
            order = stateless_random.shuffled(self._examples, seed)[: plan.steps * plan.batch]
            order = order.astype(np.int32).reshape(plan.steps, plan.shard[1], plan.local)
            self._epoch, self._ids = epoch, order[:, plan.shard[0]]
        return self._ids[step]


def epoch_seed(seed: int, epoch: int, purpose: int) -> stateless_random.Seed:
    """The seed of an epoch for one purpose."""
    return stateless_random.fold_in((seed, purpose), epoch)


def _training_view(augmentation: str, size: tuple[int, int]) -> Callable[..., tuple[Any, Any]]:
    """(images, labels, numbers of examples, draws) -> a batch."""

    def view(images: Any, labels: Any, ids: Any, *draws: Any) -> tuple[Any, Any]:
        found, theirs = ops.take(images, ids, axis=0), ops.take(labels, ids, axis=0)
        if augmentation == "crop_flip":
            found = device_augment.crop_resize(found, draws[0], size)
        else:
            found = device_augment.resize(found, size)
        if augmentation == "pad_crop_flip":
            found = device_augment.pad_crop(found, ops.convert_to_tensor(draws[0]))
        if augmentation != "none":
            found = device_augment.flip(found, ops.convert_to_tensor(draws[-1]))
        return found, theirs

    return view


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled where that can be done by itself: each operation of JAX is a call."""
    if keras.backend.backend() != "jax":
        return function
    import jax

    return jax.jit(function)
