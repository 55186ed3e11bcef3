"""tfshed.experiments.checkpoints: whole or not there, and what damage does."""

from __future__ import annotations

import numpy as np
import pytest

from tfshed.experiments.checkpoints import Checkpoints


@pytest.fixture
def two(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for step in (1, 2):
        checkpoints.save(step, {"a/kernel": np.full((40, 50), step, "float32")}, {"epoch": 0})
    return checkpoints


def test_nothing_is_there(tmp_path):
    assert Checkpoints(tmp_path / "none").newest() is None


def test_every_dtype_comes_back(tmp_path):
    import ml_dtypes

    given = {
        "bf16": np.arange(3).astype(ml_dtypes.bfloat16),
        "half": np.arange(3, dtype="float16"),
        "mask": np.array([True, False]),
        "step": np.int64(7),
        "none": np.zeros((0, 3), "float32"),
    }
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, given, {})
    found = checkpoints.newest().arrays
    assert list(found) == list(given)
    for name, value in given.items():
        assert found[name].dtype == value.dtype and found[name].shape == value.shape
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other"])
def test_a_damaged_file_falls_back_to_the_one_before(two, damage):
    newest = two.files()[-1]
    data = bytearray(newest.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "flip":
        data[len(data) // 2] ^= 1
    elif damage == "empty":
        data = b""
    else:
        data = b"not a checkpoint"
    newest.write_bytes(bytes(data))
    with pytest.warns(UserWarning, match="step-00000002.npz cannot be read"):
        found = two.newest()
    assert found.info["step"] == 1 and (found.arrays["a/kernel"] == 1).all()


@pytest.mark.filterwarnings("ignore:.*cannot be read")
def test_no_whole_file_at_all_is_an_error(two):
    for path in two.files():
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="received 2 damaged ones. Remove the folder"):
        two.newest()


def test_what_a_killed_write_left_is_not_read_and_is_swept(two):
    left = two.folder / ".step-00000009.4242.npz"
    left.write_bytes(b"half")
    assert two.newest().info["step"] == 2
    two.save(3, {}, {})
    assert not left.exists()
    assert [p.name for p in two.files()] == ["step-00000002.npz", "step-00000003.npz"]


def test_pickles_are_never_loaded(tmp_path):
    np.savez(tmp_path / "step-00000001.npz", info=np.array([{"a": 1}], dtype=object))
    with (
        pytest.warns(UserWarning, match="cannot be read"),
        pytest.raises(ValueError, match="damaged"),
    ):
        Checkpoints(tmp_path).newest()
