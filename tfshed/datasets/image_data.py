"""One interface to all image data: batches for training and evaluation, counts, and diagnosis."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Protocol

from tfshed.core.arguments import check_int
from tfshed.core.near_miss import near_miss
from tfshed.datasets.augmentations import AUGMENTATIONS
from tfshed.datasets.reading_plan import ReadingPlan

HELD_OUT = "held_out"


class Source(Protocol):
    """One split of some data."""

    examples: int

    def count(self, fraction: float) -> int:
        """How many examples a fraction is."""

    def train(self, plan: ReadingPlan) -> Any:
        """The batches of a run that are left."""

    def evaluation(self, batch: int, shard: tuple[int, int], fraction: float) -> Any:
        """This worker's examples, each once and in order."""

    def fingerprint(self) -> str:
        """A text that changes when the data do: of the contents in memory, else of the files."""

    def explain(self) -> list[str]:
        """A line for each thing that is wrong with the data."""


class ImageData:
    """The images and labels of one data set, which `tfshed.datasets.load` returns.

    Attributes:
        name: The name given to `load`.
        classes: The number of classes. Labels are 0 to classes - 1.
        image_shape: The shape (height, width, channels) of every image that is returned.
        train_split, eval_split: The names of the splits. `train_split` is None if the data are for
            evaluation only.
        examples: A dict from split to the number of its examples.

    >>> from tfshed import datasets
    >>> data = datasets.load("digits")
    >>> data.classes, data.image_shape, data.examples
    (10, (8, 8, 1), {'train': 1440, 'test': 357})
    """

    def __init__(
        self,
        name: str,
        classes: int,
        image_shape: tuple[int, int, int],
        sources: Mapping[str, Source],
        train_split: str | None,
        eval_split: str,
    ):
        self.name, self.classes, self.image_shape = name, classes, image_shape
        self.train_split, self.eval_split = train_split, eval_split
        self._sources = dict(sources)
        self.examples = {split: source.examples for split, source in self._sources.items()}

    def __repr__(self) -> str:
        return (
            f"<ImageData {self.name!r}: {self.classes} classes, images {self.image_shape}, "
            f"{self.examples}>"
        )

    def with_held_out(self, fraction: float) -> ImageData:
        """The same data with a part of the training examples as a split of its own, "held_out".

        The part is always the same one, evenly spread over the classes. It is there to choose
        between epochs and settings, so that the test images are only looked at in the end.

        Args:
            fraction: of the training examples, in (0, 1).

        Raises:
            ValueError: data that are not held in memory, or no examples are left.

        >>> from tfshed import datasets
        >>> datasets.load("digits").with_held_out(0.1)
        <ImageData 'digits': 10 classes, images (8, 8, 1), {'train': 1296, 'test': 357,
        'held_out': 144}>
        """
        _fraction(fraction)
        source = self._training()
        divide = getattr(source, "divided", None)
        if divide is None:
            raise ValueError(
                f"held_out: expected data held in memory, received {self.name}, which is read from "
                "files. Make a split of its own among the files and name it in data.eval_split."
            )
        trained, held = divide(fraction)
        sources = {**self._sources, str(self.train_split): trained, HELD_OUT: held}
        return ImageData(
            self.name, self.classes, self.image_shape, sources, self.train_split, self.eval_split
        )

    def with_label_noise(self, fraction: float, seed: int = 0) -> ImageData:
        """The same data, with wrong labels for a part of the training examples.

        Which examples they are and which of the other classes they get depends on `seed` alone, so
        that they are the same ones in every epoch and in every run. Examples that are evaluated
        keep their labels.

        Args:
            fraction: The fraction of the training examples whose label becomes wrong, in (0, 1).
            seed: An int >= 0. Default 0.

        Raises:
            ValueError: An argument is out of its range, there is only one class, or the data are
                not held in memory.

        >>> from tfshed import datasets
        >>> clean = datasets.load("digits")
        >>> clean.with_label_noise(0.3).fingerprint()["train"] != clean.fingerprint()["train"]
        True
        """
        _fraction(fraction)
        check_int("seed", seed, 0, 2**63 - 1)
        if fraction == 1 or self.classes < 2:
            raise ValueError(
                "label_noise: expected a fraction below 1 of data with several classes, received "
                f"{fraction!r} of {self.name} with {self.classes} classes"
            )
        source = self._training()
        make = getattr(source, "with_label_noise", None)
        if make is None:
            raise ValueError(
                f"label_noise: expected data held in memory, received {self.name}, which is read "
                "from files. Write them with the labels that you want."
            )
        sources = {**self._sources, str(self.train_split): make(fraction, self.classes, seed)}
        return ImageData(
            self.name, self.classes, self.image_shape, sources, self.train_split, self.eval_split
        )

    def steps_per_epoch(self, batch_size: int, fraction: float = 1.0) -> int:
        """Returns the number of full batches in an epoch of training. The rest is left out.

        Args:
            batch_size: The number of examples in a batch, of all workers together.
            fraction: The fraction of the training examples to use, in (0, 1]. Default 1.

        Raises:
            ValueError: There are not enough examples for one batch, an argument is out of its
                range, or there are no training data.

        >>> from tfshed import datasets
        >>> datasets.load("digits").steps_per_epoch(96)
        15
        """
        source = self._training()
        check_int("batch_size", batch_size, 1)
        _fraction(fraction)
        count = source.count(fraction)
        if count < batch_size:
            raise ValueError(
                f"batch_size: expected at most {count}, the training examples of {self.name} at "
                f"fraction={fraction:g} (of {source.examples}), received {batch_size}. Use "
                "smaller batches or a larger fraction."
            )
        return count // batch_size

    def train(
        self,
        batch_size: int,
        *,
        seed: int,
        epochs: int,
        start_step: int = 0,
        augmentation: str = "none",
        fraction: float = 1.0,
        shard: tuple[int, int] = (0, 1),
    ) -> Any:
        """Returns the batches of a whole training run in one data set.

        The order of examples depends only on `seed` and the epoch, and the augmentation of an image
        only on `seed`, the epoch and its position in it. So the batches from `start_step` on are
        bit-identical to those of a run that was not interrupted. They also depend on `batch_size`
        and, for TFRecords, on the number of workers.

        Args:
            batch_size: The number of examples in a batch, of all workers together. It must be a
                multiple of the number of workers.
            seed: The seed of order and augmentation, an int >= 0.
            epochs: The number of epochs, each with `steps_per_epoch(batch_size, fraction)` batches.
            start_step: The number of batches to leave out at the start of the run. They are not
                decoded, and not read, apart from those of the current epoch of TFRecords. Default
                0.
            augmentation: "none" (default; images as in evaluation), "flip" (every image is mirrored
                left to right with probability 1/2), "pad_crop_flip" (padded with 4 zeros on each
                side, cut out at a random position, and flipped) or "crop_flip" (a random window
                with 0.08 to 1 of the area and an aspect ratio of 3/4 to 4/3, resized and flipped).
            fraction: The fraction of the training examples to use, in (0, 1]. They are always the
                same ones, with all classes in proportion; of TFRecords, the first ones of each
                file. Default 1.
            shard: The (index, count) of this worker. A worker gets its slice of each batch; of
                TFRecords it gets its own records. Default (0, 1).

        Returns:
            What `fit` takes, with `epochs * steps_per_epoch - start_step` batches of (images uint8
            (batch_size / count, height, width, channels), labels int32 (batch_size / count,)) and
            methods `take` and `skip`. A `tf.data.Dataset`, or for data in memory with JAX and
            PyTorch a `keras.utils.PyDataset` that makes its batches on the device. Their batches
            are the same, but for the windows of "crop_flip" and the rounding of resized images.

        Raises:
            ValueError: An argument is out of its range, or there are no training data.

        >>> from tfshed import datasets
        >>> data = datasets.load("digits")
        >>> batches = data.train(96, seed=0, epochs=2, start_step=20, augmentation="flip")
        >>> len(batches), tuple(batches.element_spec[0].shape)
        (10, (96, 8, 8, 1))
        """
        source = self._training()
        steps = self.steps_per_epoch(batch_size, fraction)
        _shard(batch_size, shard)
        check_int("seed", seed, 0, 2**63 - 1)
        check_int("epochs", epochs, 1)
        check_int("start_step", start_step, 0, epochs * steps)
        _choice("augmentation", augmentation, AUGMENTATIONS)
        return source.train(
            ReadingPlan(
                seed=int(seed),
                epochs=int(epochs),
                start_step=int(start_step),
                steps=steps,
                batch=int(batch_size),
                shard=(int(shard[0]), int(shard[1])),
                augmentation=augmentation,
                fraction=fraction,
            )
        )

    def evaluation(
        self,
        batch_size: int,
        *,
        split: str | None = None,
        shard: tuple[int, int] = (0, 1),
        fraction: float = 1.0,
    ) -> Any:
        """Returns the examples of a split, each once and in order. The last batch may be smaller.

        If all images have the same size, they are resized to `image_shape`. If their sizes vary,
        the shorter side of each is resized to size / 0.875, and the centre is cut out.

        Args:
            batch_size: The number of examples in a batch, of all workers together. It must be a
                multiple of the number of workers.
            split: The name of the split. Default None: `eval_split`.
            shard: The (index, count) of this worker, which gets a contiguous part of the examples.
                Some workers may have one batch more than others. Default (0, 1).
            fraction: The fraction of the examples to use, in (0, 1], see `train`. Default 1.

        Returns:
            What `evaluate` takes, with batches of (images uint8 (n, height, width, channels),
            labels int32 (n,)); see `train`.

        Raises:
            ValueError: an argument is out of its range.

        >>> from tfshed import datasets
        >>> batches = datasets.load("digits").evaluation(100)
        >>> [len(labels) for _, labels in batches]
        [100, 100, 100, 57]
        """
        split = self.eval_split if split is None else split
        _choice("split", split, tuple(self._sources))
        check_int("batch_size", batch_size, 1)
        _fraction(fraction)
        _shard(batch_size, shard)
        return self._sources[split].evaluation(
            batch_size // shard[1], (int(shard[0]), int(shard[1])), fraction
        )

    def fingerprint(self) -> dict[str, str]:
        """Returns, for each split, a text that changes when its data change.

        For data in memory it is a hash of all images and labels. For other data it is a hash of the
        names and sizes of their files, in order.

        >>> from tfshed import datasets
        >>> found = datasets.load("digits").fingerprint()
        >>> list(found), len(found["train"])
        (['train', 'test'], 32)
        """
        return {split: source.fingerprint() for split, source in self._sources.items()}

    def explain(self, error: BaseException) -> str | None:
        """Finds out which part of the data has caused an error during training.

        All data are read and decoded, the smallest split first, until a defect is found. For
        ImageNet this takes many minutes. If the error cannot come from reading data, nothing is
        read.

        Args:
            error: The error that was raised while batches were read.

        Returns:
            A text that names the files, records and classes that are wrong and says what to do, or
            None.

        >>> from tfshed import datasets
        >>> datasets.load("digits").explain(ValueError("some other thing")) is None
        True
        """
        if not _from_reading(error):
            return None
        for split in sorted(self._sources, key=lambda name: self.examples[name]):
            lines = self._sources[split].explain()
            if lines:
                return f"{self.name}, split {split}:\n" + "\n".join(f"  {line}" for line in lines)
        return None

    def _training(self) -> Source:
        if self.train_split is None:
            raise ValueError(
                f"{self.name}: expected data to train on, received data for evaluation only "
                f"(split {self.eval_split}). Train on other data; use evaluation() with these."
            )
        return self._sources[self.train_split]


def _from_reading(error: BaseException | None) -> bool:
    if sys.modules.get("tensorflow") is None:
        return False
    import tensorflow as tf

    kinds = (
        tf.errors.InvalidArgumentError,
        tf.errors.DataLossError,
        tf.errors.NotFoundError,
        tf.errors.PermissionDeniedError,
        tf.errors.FailedPreconditionError,
    )
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, kinds):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def _fraction(value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
        raise ValueError(f"fraction: expected a number above 0 and up to 1, received {value!r}")


def _shard(batch_size: int, shard: Any) -> None:
    if not isinstance(shard, (tuple, list)) or len(shard) != 2:
        raise ValueError(f"shard: expected (index, count) of the worker, received {shard!r}")
    check_int("shard[1]", shard[1], 1)
    check_int("shard[0]", shard[0], 0, shard[1] - 1)
    if batch_size % shard[1]:
        raise ValueError(
            f"batch_size: expected a multiple of the {shard[1]} workers, received {batch_size}. "
            f"Use {batch_size - batch_size % shard[1] or shard[1]}, for example."
        )


def _choice(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value in known:
        return
    hint = near_miss(str(value), known)
    raise ValueError(f"{name}: expected one of {', '.join(known)}, received {value!r}.{hint}")
