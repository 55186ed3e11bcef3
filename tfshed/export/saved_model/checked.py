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
        root, signatures: What `serving_object` made of it.
        specs: Its inputs.
        raw_specs: The inputs of its preprocessing; None without any.
    """

    model: Any
    root: Any
    signatures: dict[str, Any]
    specs: list[Any]
    raw_specs: list[Any] | None

    def verify(self, path: Path, values: str = "float32") -> tuple[float, float]:
        return verify_saved_model(self.model, self.root, self.specs, path, values, self.raw_specs)


def write_dense(served: Served, path: Path, verify: bool) -> None:
    """Writes a checkpoint with all values in full."""
    save_dense(served.root, path, served.signatures)
    if verify:
        served.verify(path)


def write_packed(served: Served, path: Path, values: str, verify: bool) -> Packing:
    """Writes packed files and a short graph, and what they came to.

    Shortening a graph is not to change a bit of any output. TensorFlow's optimizer, which runs when
    the graph does, looks at names and constants, though: so outputs are compared, and of a model
    whose outputs a pass changes that pass is left out. With `verify=False` nothing would show it,
    and the functions stay as TensorFlow wrote them.
    """
    save_packed(served.root, path, served.signatures, values)
    if not verify:
        shorten_graph(path, HIDDEN, body_passes=())
        return _report(served.root, path, values, None)
    graph = path / "saved_model.pb"
    whole = graph.read_bytes()
    different: OutputsDifferError | None = None
    for body_passes in _choices():
        graph.write_bytes(whole)
        shorten_graph(path, HIDDEN, body_passes)
        try:
            moved = served.verify(path, values)
        except OutputsDifferError as error:
            if not body_passes:  # so it is no pass that makes the difference
                raise
            different = different or error
            continue
        if different is not None:
            logger.info(
                "export: %r keeps its outputs to the bit with the passes %s on its graph; the "
                "others are left out.",
                served.model.name,
                list(body_passes),
            )
        return _report(served.root, path, values, moved)
    raise AssertionError("the last choice has no passes")


def _choices() -> Iterator[tuple[str, ...]]:
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
    """Numbers in all variables, those that are not zero, and bytes."""
    arrays = [variable.numpy() for variable in all_variables(root)]
    return (
        sum(array.size for array in arrays),
        sum(int(np.count_nonzero(array)) for array in arrays),
        sum(array.nbytes for array in arrays),
    )


def bytes_in(folder: Path) -> int:
    """Bytes of a SavedModel's files, but for its fingerprint, whose length is random."""
    files = (file for file in folder.rglob("*") if file.name != "fingerprint.pb")
    return sum(file.stat().st_size for file in files if file.is_file())
