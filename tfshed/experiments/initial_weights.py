"""Where the weights come from that a run starts with."""

from __future__ import annotations

from pathlib import Path

FINAL = "model.keras"


def weights_file(given: str) -> str | None:
    """The file that `initial_weights` names: None for fresh ones, a run directory's final model.

    Raises:
        FileNotFoundError: there is no such file, or the run there is not finished.

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
        'config.initial_weights: expected "fresh", "imagenet", a weights file or the directory of '
        f"a finished run, received {given}: {what}"
    )
