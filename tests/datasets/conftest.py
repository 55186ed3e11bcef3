"""Generated data of every kind, written once for all tests here."""

from __future__ import annotations

import numpy as np
import pytest

from tests import generated
from tfshed import datasets

# Names as `load` takes them, with the options that make each kind of source.
KINDS = ("digits", "npz", "cifar10", "folder in memory", "folder", "imagenet2012", "tfrecords")


@pytest.fixture(scope="session")
def places(tmp_path_factory):
    """kind -> arguments of `load`; the data are not to be changed."""
    root = tmp_path_factory.mktemp("data")
    generated.imagenet(root)
    generated.imagenet(root, name="imagenet_v2")
    generated.cifar10(root)
    generated.folder(root / "several")
    generated.folder(root / "one", sizes=(20, 20), suffix=".png", evaluation_split="val")
    generated.tfrecords(root / "records")
    rng = np.random.default_rng(0)
    np.savez(
        root / "small.npz",
        x_train=rng.integers(0, 256, (40, 12, 10), np.uint8),
        y_train=np.arange(40) % 5,
        x_test=rng.integers(0, 256, (15, 12, 10), np.uint8),
        y_test=np.arange(15)[:, None] % 5,
    )
    return {
        "digits": {"name": "digits"},
        "npz": {"name": str(root / "small.npz")},
        "cifar10": {"name": "cifar10", "data_dir": root},
        "folder in memory": {"name": f"folder:{root / 'one'}"},
        "folder": {"name": f"folder:{root / 'several'}", "image_size": 16},
        "imagenet2012": {"name": "imagenet2012", "data_dir": root, "image_size": 16},
        "imagenet_v2": {"name": "imagenet_v2", "data_dir": root, "image_size": 16},
        "tfrecords": {"name": f"tfrecords:{root / 'records'}", "image_size": 16},
    }


@pytest.fixture(scope="session")
def load(places):
    """`load(kind)` of the data above; the same object each time."""
    made = {}

    def get(kind):
        if kind not in made:
            made[kind] = datasets.load(**places[kind])
        return made[kind]

    return get
