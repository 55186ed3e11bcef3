"""The sizes of a packed SavedModel, stored in its folder and read from there."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

from tfshed.observe.in_notebooks import ShownInNotebooks

# TensorFlow reserves the folder assets.extra for files of whoever writes a SavedModel.
WHERE = Path("assets.extra", "tfshed.json")


@dataclasses.dataclass(frozen=True)
class Packing(ShownInNotebooks):
    """The sizes of a SavedModel that was packed, or was written dense as that is smaller.

    Attributes:
        values: The dtype in which float32 kernels are stored: "float32" (exact, as all other
            variables are), "bfloat16", "float16" or "int8".
        weights: The number of all numbers in the variables of the model.
        nonzeros: How many of these are not zero.
        dense_bytes: The bytes of these variables in memory.
        packed_bytes: The bytes of the packed files, without the graph; 0 if stored dense.
        largest_difference: The largest change of an output by rounding to `values`, on random
            inputs. It is 0 for "float32" and None if it was not measured (`verify=False`).
        largest_output: The largest magnitude among these outputs; 0 or None likewise.
        stored: "packed", or "dense" if `packed="auto"` wrote a dense SavedModel.
        total_bytes: The bytes of all files of the SavedModel without its fingerprint. None in
            exports of earlier versions.
        other_bytes: The bytes of the same model stored the other way; None if not measured.
        reason: Why the model is stored dense; "" if it is packed.
    """

    values: str
    weights: int
    nonzeros: int
    dense_bytes: int
    packed_bytes: int
    largest_difference: float | None
    largest_output: float | None
    stored: str = "packed"
    total_bytes: int | None = None
    other_bytes: int | None = None
    reason: str = ""

    def __str__(self) -> str:
        text = f"{self.weights:,} weights, {self.nonzeros / max(self.weights, 1):.1%} not zero"
        if self.stored == "dense":
            return f"{text}, stored dense: {self.reason}"
        text += f", {self.packed_bytes / max(self.dense_bytes, 1):.3f} of their dense bytes"
        if self.values == "float32":
            return text + ", exact"
        text += f", kernels as {self.values}"
        if self.largest_difference is None:
            return text + ", outputs not compared"
        return (
            f"{text}; outputs differ by up to {self.largest_difference:.2g} (the largest is "
            f"{self.largest_output:.2g}), on random inputs"
        )

    def write(self, folder: Path) -> None:
        """Writes these numbers into the SavedModel in `folder`."""
        target = folder / WHERE
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")


def packing(path: str | os.PathLike[str]) -> Packing:
    """Returns the sizes that `tfshed.export.saved_model` stored in the SavedModel at `path`.

    Args:
        path: The folder of a SavedModel.

    Raises:
        FileNotFoundError: There is no SavedModel, or it was written with `packed=False`.
        ValueError: The stored sizes cannot be read.

    >>> import tempfile, keras, tfshed
    >>> net = keras.Sequential([keras.Input((64,)), keras.layers.Dense(512)])
    >>> net = tfshed.sparsify(net, 0.9)
    >>> path = tfshed.export.saved_model(net, tempfile.mkdtemp() + "/model")
    >>> print(tfshed.export.packing(path))
    33,280 weights, 9.8% not zero, 0.0... of their dense bytes, exact
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
