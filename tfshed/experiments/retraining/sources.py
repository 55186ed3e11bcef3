"""Where weights come from, by a text: a run, an epoch of a run, or a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tfshed.experiments.initial_weights import weights_file
from tfshed.experiments.retraining.keep_epochs import epoch_file, kept_epochs, read_epoch
from tfshed.models.weights import check_file, load_file

EPOCHS = "epochs"


def at_epoch(given: str) -> tuple[Path, int] | None:
    """The run and the epoch of a text "RUN@EPOCH"; None for other texts.

    >>> at_epoch("runs/base@30"), at_epoch("runs/base")
    ((PosixPath('runs/base'), 30), None)
    """
    run, at, epoch = given.rpartition("@")
    if not at or not epoch.isdecimal() or Path(given).expanduser().exists():
        return None
    return Path(run).expanduser(), int(epoch)


def check_epoch(given: str, field: str) -> Path:
    """The file that holds the weights of "RUN@EPOCH".

    Raises:
        FileNotFoundError: there is no such run, or it has not kept this epoch; says what to do.
    """
    found = at_epoch(given)
    assert found is not None
    run, epoch = found
    file = epoch_file(run / EPOCHS, epoch)
    if file.is_file():
        return file
    if not run.is_dir():
        raise FileNotFoundError(f"{field}: expected a run directory {run}, and nothing is there")
    kept = kept_epochs(run / EPOCHS)
    some = f"the epochs {', '.join(map(str, kept))}" if kept else "no epochs"
    raise FileNotFoundError(
        f"{field}: expected the weights of epoch {epoch} of {run}, which has kept {some}. Train it "
        f"again in another folder, with epoch {epoch} among --config.checkpoint.keep_epochs="
        f"({', '.join(map(str, sorted({*kept, epoch})))},)"
    )


def read_weights(given: str, model: Any, field: str) -> list[np.ndarray]:
    """The weights that a text names, as arrays in the order of the model's weights.

    Args:
        given: a run directory, "RUN@EPOCH", or a `.keras` or `.weights.h5` file.
        model: of the same net; it ends with the weights that it had.
        field: what errors call the text.

    Raises:
        FileNotFoundError: nothing is there, or the epoch was not kept.
        ValueError: they are of another net.
    """
    if at_epoch(given) is not None:
        file = check_epoch(given, field)
        found = read_epoch(file)
        shapes = [tuple(w.shape) for w in found]
        wanted = [tuple(v.shape) for v in model.weights]
        if shapes != wanted:
            raise ValueError(
                f"{field}: expected weights of {model.name}, received {file}, which are of another "
                "net. Take a run of the same network."
            )
        return found
    path = weights_file(given, field)
    if path is None or path == "imagenet":
        raise ValueError(f"{field}: expected a run, RUN@EPOCH or a file, received {given!r}")
    before = model.get_weights()
    try:
        load_file(model, check_file(path))
        return [np.array(w) for w in model.get_weights()]
    finally:
        model.set_weights(before)
