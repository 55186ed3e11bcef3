"""Finds the file with the weights that a run starts with."""

from __future__ import annotations

from pathlib import Path

FINAL = "model.keras"


def weights_file(given: str, field: str = "config.initial_weights") -> str | None:
    """Returns the file that `initial_weights` means; None for random initial weights.

    For a run directory, it is the final model.

    Raises:
        FileNotFoundError: There is no such file, or the run is not finished.

    Example:
        >>> weights_file(""), weights_file("fresh"), weights_file("imagenet")
        (None, None, 'imagenet')
    """
    if given in ("", "fresh"):
        return None
    path = Path(given).expanduser()
    if given == "imagenet" or path.is_file():
        return str(given)
    if path.is_dir() and (path / FINAL).is_file():
        return str(path / FINAL)
    what = f"no {FINAL}: is that run finished?" if path.is_dir() else "nothing is there"
    raise FileNotFoundError(
        f'{field}: expected "fresh", "imagenet", a weights file or the directory of a finished '
        f"run, received {given}: {what}"
    )
