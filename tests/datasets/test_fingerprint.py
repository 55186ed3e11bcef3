"""ImageData.fingerprint: the same for the same data, another for others."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from tests import generated
from tests.datasets.conftest import KINDS
from tfshed import datasets
from tfshed.datasets import fingerprint


def test_each_data_set_has_its_own_and_keeps_it(load, places):
    found = {kind: load(kind).fingerprint() for kind in KINDS}
    every = [text for splits in found.values() for text in splits.values()]
    assert len(set(every)) == len(every)
    for kind in ("npz", "folder"):
        assert datasets.load(**places[kind]).fingerprint() == found[kind]


@pytest.mark.parametrize("change", ["size", "name", "one less"])
def test_files_that_change_are_seen_and_files_that_move_are_not(tmp_path, change):
    generated.folder(tmp_path / "here")
    name = f"folder:{tmp_path / 'here'}"
    before = datasets.load(name, image_size=16).fingerprint()
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    assert datasets.load(f"folder:{tmp_path / 'there'}", image_size=16).fingerprint() == before
    victim = sorted((tmp_path / "here" / "train").rglob("*.*"))[1]
    if change == "size":
        victim.write_bytes(victim.read_bytes() + b" ")
    elif change == "name":
        victim.rename(victim.with_stem("another"))
    else:
        victim.unlink()
    after = datasets.load(name, image_size=16).fingerprint()
    assert after["train"] != before["train"]
    assert {k: v for k, v in after.items() if k != "train"} == {
        k: v for k, v in before.items() if k != "train"
    }


def test_shape_and_type_count():
    arrays = [np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), np.zeros((2, 3), np.int8)]
    assert len({fingerprint.of_arrays([a]) for a in [*arrays, np.zeros((0, 3), np.uint8)]}) == 4
