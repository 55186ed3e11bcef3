"""Keras' own file format, compressed: a smaller file that Keras opens as usual."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

from tfshed.attach.types import Keras3Model
from tfshed.export.atomic_path import check_file, workspace
from tfshed.export.formats import register_format
from tfshed.export.model_and_path import check_unwrapped

# Every entry gets the earliest date that a zip file can hold, so that the same model gives the same
# bytes whenever it is written.
TIMESTAMP = (1980, 1, 1, 0, 0, 0)
# Bytes that are copied and compared at a time.
BLOCK = 1 << 20


@register_format("keras")
def keras(
    model: Keras3Model,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    verify: bool = True,
) -> Path:
    """Saves a model as a `.keras` file in which zeros take little space.

    `keras.saving.load_model` opens the file as usual, on every backend and without tfshed. It
    contains what `model.save` writes, the optimizer included; `model.save` leaves the entries of
    its zip archive uncompressed, here they are compressed. No bit of any weight changes.

    The file appears at `path` only when it is complete and verified. Verification compares it byte
    for byte with what `model.save` wrote. The model is not loaded for this, so no code of its
    layers is run.

    Args:
        model: A built `keras.Model`.
        path: A local path ending in ".keras". Missing parents are created.
        overwrite: Whether a `.keras` file at `path` may be replaced. Default False.
        verify: Whether the file is read back and compared. Default True.

    Returns:
        `path` as a `pathlib.Path`.

    Raises:
        TypeError: `model` is no Keras 3 model.
        ValueError: `path` does not end in ".keras" or is remote, or the model is not built or has
            pruning wrappers (pass what `tfshed.strip_pruning` returns).
        FileExistsError: Something exists at `path` and `overwrite` is False, or it is no file.
        RuntimeError: The file does not hold what `model.save` wrote. It is deleted.

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
            "Keras recognises its file formats by this ending."
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
            # zipfile decides by the size whether an entry needs the 64-bit form.
            entry.file_size = old.getinfo(name).file_size
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
            "export: expected the compressed file to hold what model.save wrote, received other "
            f"bytes in {sorted(wrong)}. Nothing was exported. Is the disk full, or failing?"
        )
