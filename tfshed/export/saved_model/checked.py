"""Writes a SavedModel dense or packed, and loads it again to compare it with its model."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tfshed.export.saved_model.packing_report import Packing
from tfshed.export.saved_model.save import HIDDEN, all_variables, save_dense, save_packed
from tfshed.export.saved_model.shorten.passes import BODY_PASSES, shorten_graph
from tfshed.export.saved_model.verify import OutputsDifferError, verify_saved_model

logger = logging.getLogger("tfshed")


@dataclasses.dataclass(frozen=True)
class Served:
    """A model's forward pass, ready to be saved.

    Attributes:
        model: The Keras model.
        root, signatures: What `serving_object` returned for the model.
        specs: The model's inputs.
        raw_specs: The inputs of the preprocessing; None if there is no preprocessing.
    """

    model: Any
    root: Any
    signatures: dict[str, Any]
    specs: list[Any]
    raw_specs: list[Any] | None

    def verify(self, path: Path, values: str = "float32") -> tuple[float, float]:
        """Compares the SavedModel at `path` with this one, see `verify_saved_model`."""
        return verify_saved_model(self.model, self.root, self.specs, path, values, self.raw_specs)


def write_dense(served: Served, path: Path, verify: bool) -> None:
    """Writes a SavedModel whose checkpoint holds all values, zeros included."""
    save_dense(served.root, path, served.signatures)
    if verify:
        served.verify(path)


def write_packed(served: Served, path: Path, values: str, verify: bool) -> Packing:
    """Writes a SavedModel with packed weights and a shortened graph, and returns its sizes.

    Shortening the graph must not change one bit of any output. However, TensorFlow optimizes a
    graph before running it, and its optimizer looks at names and constants. The outputs are
    therefore compared, and a pass that changes them is left out for this model. With `verify=False`
    a change would not be noticed, so the bodies of functions stay as TensorFlow wrote them.
    """
    save_packed(served.root, path, served.signatures, values)
    if not verify:
        shorten_graph(path, HIDDEN, body_passes=())
        return _report(served.root, path, values, None)
    graph = path / "saved_model.pb"
    whole = graph.read_bytes()
    different: OutputsDifferError | None = None
    for body_passes in _selections_of_passes():
        graph.write_bytes(whole)
        shorten_graph(path, HIDDEN, body_passes)
        try:
            moved = served.verify(path, values)
        except OutputsDifferError as error:
            if not body_passes:  # then the difference has another cause
                raise
            different = different or error
            continue
        if different is not None:
            logger.info(
                "export: the graph of %r was shortened by the passes %s only, since others would "
                "have changed its outputs by rounding.",
                served.model.name,
                list(body_passes),
            )
        return _report(served.root, path, values, moved)
    raise AssertionError("the last selection is empty, and returns or raises")


def _selections_of_passes() -> Iterator[tuple[str, ...]]:
    """All passes, then all but one of them, then none."""
    yield BODY_PASSES
    for left_out in BODY_PASSES:
        yield tuple(name for name in BODY_PASSES if name != left_out)
    yield ()


def _report(root: Any, path: Path, values: str, moved: tuple[float, float] | None) -> Packing:
    counts = count_weights(root)
    difference, largest = (0.0, 0.0) if values == "float32" else moved or (None, None)
    packed = sum(file.stat().st_size for file in path.glob("assets/weights_*.tfshed"))
    report = Packing(
        values, *counts, packed, difference, largest, "packed", total_bytes=bytes_in(path)
    )
    if values != "float32":
        logger.warning("export: %s", report)
    return report


def count_weights(root: Any) -> tuple[int, int, int]:
    """How many numbers all variables hold, how many of these are not zero, and their bytes."""
    arrays = [variable.numpy() for variable in all_variables(root)]
    return (
        sum(array.size for array in arrays),
        sum(int(np.count_nonzero(array)) for array in arrays),
        sum(array.nbytes for array in arrays),
    )


def bytes_in(folder: Path) -> int:
    """Bytes of a SavedModel's files, without its fingerprint, whose length is random."""
    files = (file for file in folder.rglob("*") if file.name != "fingerprint.pb")
    return sum(file.stat().st_size for file in files if file.is_file())
