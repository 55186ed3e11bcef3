"""What packing did to a model, written beside it and read back."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

# A folder that TensorFlow leaves to whoever writes a SavedModel.
WHERE = Path("assets.extra", "tfshed.json")


@dataclasses.dataclass(frozen=True)
class Packing:
    """What is in the files of a packed SavedModel.

    Attributes:
        values: "float32" (exact), "bfloat16", "float16" or "int8".
        weights: numbers in all variables of the model.
        nonzeros: those that are not zero.
        dense_bytes: bytes of these variables in memory.
        packed_bytes: bytes of the packed files.
        largest_difference: of an output, by lossy values, on random inputs; 0 for exact ones and
            None if it was not measured (`verify=False`).
        largest_output: the largest magnitude among these outputs; 0 or None likewise.
    """

    values: str
    weights: int
    nonzeros: int
    dense_bytes: int
    packed_bytes: int
    largest_difference: float | None
    largest_output: float | None

    def __str__(self) -> str:
        share = self.packed_bytes / max(self.dense_bytes, 1)
        text = (
            f"{self.weights:,} weights, {self.nonzeros / max(self.weights, 1):.1%} not zero, "
            f"{share:.3f} of their dense bytes as {self.values}"
        )
        if self.values == "float32":
            return text + ", exact"
        if self.largest_difference is None:
            return text + ", outputs not compared"
        return (
            f"{text}; outputs differ by up to {self.largest_difference:.2g} (the largest is "
            f"{self.largest_output:.2g}), on random inputs"
        )

    def write(self, folder: Path) -> None:
        target = folder / WHERE
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")


def packing(path: str | os.PathLike[str]) -> Packing:
    """Reads what `tfshed.export.saved_model` said of the packed SavedModel at `path`.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if what is there is something else.

    >>> import tempfile, keras, tfshed
    >>> net = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64)])
    >>> net = tfshed.sparsify(net, 0.9)
    >>> path = tfshed.export.saved_model(net, tempfile.mkdtemp() + "/model")
    >>> print(tfshed.export.packing(path))
    4,160 weights, 9.9% not zero, 0.09... of their dense bytes as float32, exact
    """
    file = Path(path) / WHERE
    if not file.is_file():
        raise FileNotFoundError(
            f"packing: expected a packed SavedModel, with {WHERE} in it, received "
            f"{os.fspath(path)!r}. Write one with tfshed.export.saved_model(model, path)."
        )
    try:
        return Packing(**json.loads(file.read_text()))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"packing: expected {str(file)!r} as tfshed wrote it, received another: {error}. "
            "Export the model again."
        ) from None
