"""One interface to all image data: batches for training and evaluation, counts, what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from tfshed.core.arguments import check_int
from tfshed.core.near_miss import near_miss

if TYPE_CHECKING:
    import tensorflow as tf

    from tfshed.datasets.example_order import ReadingPlan

AUGMENTATIONS = ("none", "flip", "pad_crop_flip", "crop_flip")


class Source(Protocol):
    """One split of some data."""

    examples: int

    def count(self, fraction: float) -> int:
        """How many examples a fraction is."""

    def train(self, plan: ReadingPlan) -> tf.data.Dataset:
        """The batches of a run that are left."""

    def evaluation(self, batch: int, shard: tuple[int, int], fraction: float) -> tf.data.Dataset:
        """This worker's examples, each once and in order."""

    def fingerprint(self) -> str:
        """A text that changes when the data do: of the contents in memory, else of the files."""

    def explain(self) -> list[str]:
        """A line for each thing that is wrong with the data."""


class ImageData:
    """Images and labels of one data set; made by `tfshed.datasets.load`.

    Attributes:
        name: as given to `load`.
        classes: number of classes; labels are below it.
        image_shape: (height, width, channels) of every image given out.
        train_split, eval_split: their names; `train_split` is None for data to evaluate on only.
        examples: dict of the number of examples in each split.

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

    def steps_per_epoch(self, batch_size: int, fraction: float = 1.0) -> int:
        """Full batches in an epoch of training; the rest of an epoch is left out.

        Args:
            batch_size: examples in a batch, of all workers together.
            fraction: of the training examples, in (0, 1].

        Raises:
            ValueError: no batch is full, an argument is out of its range, or there is no data to
                train on.

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
                f"fraction={fraction:g} (of {source.examples}), received {batch_size}. Take "
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
    ) -> tf.data.Dataset:
        """The batches of a whole run of training, in one data set.

        The order of an epoch is a function of `seed` and the epoch, and how an image is changed one
        of `seed`, the epoch and its place there: the batches from `start_step` on are, bit by bit,
        those of a run that was never stopped. They also depend on `batch_size` and, for data read
        as a stream of TFRecords, on the number of workers.

        Args:
            batch_size: examples in a batch of all workers together; a multiple of their number.
            seed: int >= 0.
            epochs: of the run, each of `steps_per_epoch(batch_size, fraction)` full batches.
            start_step: batches of the run to leave out; they are neither decoded nor, but for
                those of the epoch under way of TFRecords, read.
            augmentation: "none" (as in evaluation), "flip" (left to right, every other image),
                "pad_crop_flip" (4 zeros on each side, then the size anywhere in it, and flip) or
                "crop_flip" (a window of 0.08 to 1 of the area and a ratio of 3/4 to 4/3, resized,
                and flip).
            fraction: of the training examples, in (0, 1]; always the same ones, evenly spread over
                the classes. Of TFRecords the first ones of each file.
            shard: (index, count) of this worker. Of data in memory and of image files a worker has
                its slice of each batch that one worker would have; of TFRecords its own records.

        Returns:
            A data set of (images uint8 (batch_size / count, height, width, channels), labels int32
            (batch_size / count,)), with `epochs * steps_per_epoch - start_step` batches.

        Raises:
            ValueError: an argument is out of its range, or there is no data to train on.

        >>> from tfshed import datasets
        >>> data = datasets.load("digits")
        >>> batches = data.train(96, seed=0, epochs=2, start_step=20, augmentation="flip")
        >>> len(batches), batches.element_spec[0].shape
        (10, TensorShape([96, 8, 8, 1]))
        """
        from tfshed.datasets.example_order import ReadingPlan

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
    ) -> tf.data.Dataset:
        """The examples of a split, each once and in order; the last batch may be smaller.

        Images of one size are resized to `image_shape`, if that is another. Of images of varying
        size the shorter side is resized to size / 0.875 and the centre cut out.

        Args:
            batch_size: examples in a batch of all workers together; a multiple of their number.
            split: its name; default `eval_split`.
            shard: (index, count) of this worker, which has one stretch of the examples: workers
                may have one batch more or less than others.
            fraction: of the examples, in (0, 1]; see `train`.

        Returns:
            A data set of (images uint8 (n, height, width, channels), labels int32 (n,)).

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
        """For each split a text that changes when its data do.

        Of data in memory it is a hash of all images and labels; of others one of the names and
        sizes of their files, in order.

        >>> from tfshed import datasets
        >>> found = datasets.load("digits").fingerprint()
        >>> list(found), len(found["train"])
        (['train', 'test'], 32)
        """
        return {split: source.fingerprint() for split, source in self._sources.items()}

    def explain(self, error: BaseException) -> str | None:
        """What in the data an error in the middle of training comes from.

        Reads and decodes the data, the smallest split first, until something is found: for
        ImageNet this takes many minutes. Errors that reading never gives are not followed.

        Args:
            error: what was raised while batches were read.

        Returns:
            The files, records and classes that are wrong and what to do, or None.

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
            f"{batch_size - batch_size % shard[1] or shard[1]} would do."
        )


def _choice(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value in known:
        return
    hint = near_miss(str(value), known)
    raise ValueError(f"{name}: expected one of {', '.join(known)}, received {value!r}.{hint}")
