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


def test_steps_are_ordered_as_numbers(tmp_path):
    """As text, step-100000000 comes before step-99999999, and the newest is removed."""
    checkpoints = Checkpoints(tmp_path)
    for step in (99_999_998, 99_999_999, 100_000_000, 100_000_001):
        checkpoints.save(step, {}, {})
    assert checkpoints.newest().info["step"] == 100_000_001
    assert [path.name for path in checkpoints.files()] == [
        "step-100000000.npz",
        "step-100000001.npz",
    ]
    # What is named otherwise is not one of them, and stays.
    (tmp_path / "step-best.npz").touch()
    assert len(checkpoints.files()) == 2


@pytest.mark.filterwarnings("ignore:.*cannot be read")
def test_no_damage_of_any_byte_gets_through(tmp_path):
    """Such files raised everything from NotImplementedError to MemoryError."""
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save(step, {"a": np.full(3, step, "float32")}, {})
    newest = checkpoints.files()[-1]
    whole = newest.read_bytes()
    wanted = checkpoints.newest()
    fallen = 0
    for place in range(0, len(whole), 2):
        data = bytearray(whole)
        data[place] ^= (0x01, 0x80, 0xFF)[place % 3]
        newest.write_bytes(bytes(data))
        found = checkpoints.newest()
        if found.info["step"] == 1:
            fallen += 1
        else:  # in what nobody reads, such as the time of writing
            assert found.info == wanted.info and list(found.arrays) == ["a"]
            np.testing.assert_array_equal(found.arrays["a"], wanted.arrays["a"])
    assert fallen > len(whole) / 4


def test_a_full_disk_names_the_file_and_leaves_the_checkpoints(two, monkeypatch):
    def full(file, **entries):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(
        OSError, match="step-00000003.npz: expected to write a.*No space.*Make room"
    ):
        two.save(3, {}, {})
    assert sorted(p.name for p in two.folder.iterdir()) == [
        "step-00000001.npz",
        "step-00000002.npz",
    ]


def test_the_best_is_kept_beside_the_newest(two):
    assert two.best() is None
    two.save_best(2, {"w": np.ones(3)}, {"metric": "val_accuracy", "value": 0.5})
    for step in (3, 4, 5):
        two.save(step, {}, {})
    found = two.best()
    assert found.info == {"metric": "val_accuracy", "value": 0.5, "step": 2}
    np.testing.assert_array_equal(found.arrays["w"], 1)
    assert two.newest().info["step"] == 5


def test_pickles_are_never_loaded(tmp_path):
    np.savez(tmp_path / "step-00000001.npz", info=np.array([{"a": 1}], dtype=object))
    with (
        pytest.warns(UserWarning, match="cannot be read"),
        pytest.raises(ValueError, match="damaged"),
    ):
        Checkpoints(tmp_path).newest()
