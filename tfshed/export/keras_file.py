"""Keras' own file format, deflated: what stock Keras opens, smaller."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

from tfshed.export.atomic_path import check_file, workspace
from tfshed.export.formats import register_format
from tfshed.export.model_and_path import check_unwrapped

# The earliest that a zip can say: the same model gives the same bytes at any time.
TIMESTAMP = (1980, 1, 1, 0, 0, 0)
BLOCK = 1 << 20


@register_format("keras")
def keras(
    model: Any, path: str | os.PathLike[str], *, overwrite: bool = False, verify: bool = True
) -> Path:
    """Saves a model as a `.keras` file whose zeros take little room.

    `keras.saving.load_model` opens it as any other, on every backend and without tfshed: it is
    what `model.save` writes, optimizer and all, and what that only stores in its zip is deflated.
    Every bit of every weight stays.

    The file appears at `path` when it is complete and verified. Verifying compares it byte for
    byte with what `model.save` wrote; it never loads the model, so it runs no code of its layers.

    Args:
        model: a built `keras.Model`.
        path: a local path ending in ".keras". Missing parents are made.
        overwrite: replaces a `.keras` file at `path`.
        verify: reads everything back and compares it.

    Returns:
        `path` as a `pathlib.Path`.

    Raises:
        TypeError: if `model` is no Keras 3 model.
        ValueError: if `path` does not end in ".keras" or is remote, or the model is not built or
            has pruning wrappers: pass what `tfshed.strip_pruning` returns.
        FileExistsError: if something is at `path` and `overwrite` is False, or no file is there.
        RuntimeError: if what was written is not what it should be; then nothing is kept.

    >>> import tempfile, keras, tfshed
    >>> net = keras.Sequential([keras.Input((64,)), keras.layers.Dense(512)])
    >>> path = tfshed.export.keras(tfshed.sparsify(net, 0.9), tempfile.mkdtemp() + "/net.keras")
    >>> path.stat().st_size < 0.2 * 4 * net.count_params()
    True
    >>> keras.saving.load_model(path).count_params()
    33280
    """
    import keras as keras_package

    if not isinstance(model, keras_package.Model):
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        raise TypeError(
            f"export: expected a keras.Model of Keras 3, received {kind}. "
            "Wrap a layer in keras.Sequential([keras.Input(shape), layer])."
        )
    if not model.built:
        raise ValueError(
            f"export: expected a built model, received {model.name!r}, which has no weights yet. "
            "Call it on a batch or give it a keras.Input first."
        )
    check_unwrapped(model)
    target = Path(path)
    if target.suffix != ".keras" or "://" in os.fspath(path):
        raise ValueError(
            f"export: expected a local path ending in '.keras', received {os.fspath(path)!r}. "
            "Keras tells its formats apart by the ending."
        )
    check_file(target, overwrite)
    with workspace(target) as beside:
        plain, small = beside / "plain.keras", beside / "small.keras"
        model.save(plain)
        _deflate(plain, small)
        if verify:
            _verify(plain, small)
        check_file(target, overwrite)
        os.replace(small, target)
    return target


def _deflate(source: Path, target: Path) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in sorted(old.namelist()):
            entry = zipfile.ZipInfo(name, TIMESTAMP)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.file_size = old.getinfo(name).file_size  # says whether it takes the 64-bit form
            with old.open(name) as file, new.open(entry, "w") as written:
                shutil.copyfileobj(file, written, BLOCK)


def _verify(plain: Path, small: Path) -> None:
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(small) as new:
        wrong = set(old.namelist()) ^ set(new.namelist())
        for name in set(old.namelist()) - wrong:
            with old.open(name) as a, new.open(name) as b:
                while block := a.read(BLOCK):
                    if block != b.read(BLOCK):
                        wrong.add(name)
                if b.read(1):
                    wrong.add(name)
    if wrong:
        raise RuntimeError(
            "export: expected the deflated file to hold what model.save wrote, received others in "
            f"{sorted(wrong)}. Nothing was kept. Is the disk full, or failing?"
        )
