"""The registry of export formats: a new one is a function in one file, and is used by its name."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfshed import export
from tfshed.core.backend import to_numpy


@export.register_format("arrays")
def npz(model, path, *, overwrite=False):
    """Every weight as an array under its path; PATH is a .npz file."""
    np.savez(path, **{variable.path: to_numpy(variable) for variable in model.weights})
    return f"{len(model.weights)} arrays"


def net():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="head")])


@pytest.mark.backend
def test_a_format_of_ones_own_is_used_by_its_name(tmp_path):
    model = net()
    assert export.write(model, tmp_path / "net.npz", "arrays") == "2 arrays"
    with np.load(tmp_path / "net.npz") as found:
        (path,) = [name for name in found if name.endswith("kernel")]
        np.testing.assert_array_equal(found[path], to_numpy(model.layers[0].kernel))
    assert export.FORMATS.get("arrays").options == ["overwrite"]
    assert export.FORMATS.get("arrays").summary.startswith("Every weight as an array")


def test_the_formats_of_tfshed():
    names = {"saved_model", "litert", "keras", "shrink", "report"}
    assert names <= set(export.FORMATS)
    for name in names:
        assert export.FORMATS.get(name).summary.endswith(".")


@pytest.mark.backend
@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("kera", {}, "format: expected one of .*'keras'.* received 'kera'. Did you mean 'keras'"),
        ("keras", {"values": "int8"}, r"options of the format 'keras' \(overwrite, verify\)"),
    ],
)
def test_wrong_names_are_errors_and_write_nothing(tmp_path, name, options, said):
    with pytest.raises(ValueError, match=said):
        export.write(net(), tmp_path / "net", name, **options)
    assert not any(tmp_path.iterdir())


def test_a_name_belongs_to_one_function():
    with pytest.raises(ValueError, match=r"a name that is free, received 'keras'.*keras_file"):
        export.register_format("keras")(npz)
    assert export.register_format("arrays")(npz) is npz


@pytest.mark.parametrize("name, file", [("keras", "net.keras"), ("shrink", "small.keras")])
@pytest.mark.backend
def test_formats_by_name_write_what_they_say(tmp_path, name, file):
    assert str(export.write(net(), tmp_path / file, name))
    assert keras.saving.load_model(tmp_path / file).count_params() == 10
    with pytest.raises(FileExistsError, match="on the command line --overwrite"):
        export.write(net(), tmp_path / file, name)
    export.write(net(), tmp_path / file, name, overwrite=True)
