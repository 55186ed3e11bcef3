"""tfshed.export.keras: a smaller file that stock Keras opens, exactly the same model."""

from __future__ import annotations

import os
import zipfile

import keras
import numpy as np
import pytest

import tfshed
from tfshed import export


def network(sparsity=0.9):
    net = keras.Sequential(
        [keras.Input((64,)), keras.layers.Dense(256, activation="relu"), keras.layers.Dense(4)]
    )
    return tfshed.sparsify(net, sparsity)


@pytest.mark.backend
def test_stock_keras_opens_it_with_the_optimizer(tmp_path):
    net = network()
    net.compile("adam", "mse")
    net.fit(np.ones((8, 64)), np.ones((8, 4)), verbose=0, callbacks=[tfshed.KeepZeros()])
    path = export.keras(net, tmp_path / "deep" / "net.keras")
    net.save(tmp_path / "plain.keras")
    assert path.stat().st_size < 0.5 * (tmp_path / "plain.keras").stat().st_size
    loaded = keras.saving.load_model(path)
    for a, b in zip(net.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b))
    assert int(loaded.optimizer.iterations) == 1
    assert os.listdir(path.parent) == ["net.keras"]


def test_everything_in_it_is_deflated_and_undated(tmp_path):
    with zipfile.ZipFile(export.keras(network(), tmp_path / "net.keras")) as file:
        assert {entry.date_time for entry in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {entry.compress_type for entry in file.infolist()} == {zipfile.ZIP_DEFLATED}


def test_an_existing_file_needs_overwrite(tmp_path):
    path = export.keras(network(), tmp_path / "net.keras")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        export.keras(network(), path)
    export.keras(network(0.5), path, overwrite=True)
    assert np.count_nonzero(keras.saving.load_model(path).get_weights()[0]) > 4000
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(FileExistsError):
        export.keras(network(), tmp_path / "folder.keras", overwrite=True)


def test_a_wrong_byte_is_noticed(tmp_path, monkeypatch):
    write = zipfile.ZipFile.open

    def wrong(self, name, mode="r", **options):
        file = write(self, name, mode, **options)
        if mode == "w" and "small" in str(self.filename):
            own = file.write
            file.write = lambda block: own(block[:-1] + bytes([block[-1] ^ 1]))
        return file

    monkeypatch.setattr(zipfile.ZipFile, "open", wrong)
    with pytest.raises(RuntimeError, match="Nothing was exported"):
        export.keras(network(), tmp_path / "net.keras")
    assert os.listdir(tmp_path) == []


def test_code_in_a_file_is_not_run(tmp_path):
    net = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x)])
    path = export.keras(net, tmp_path / "net.keras")
    with pytest.raises(ValueError, match="[Ll]ambda"):
        keras.saving.load_model(path)


def test_refuses_with_what_to_do(tmp_path):
    with pytest.raises(TypeError, match="Wrap a layer"):
        export.keras(keras.layers.Dense(2), tmp_path / "net.keras")
    with pytest.raises(ValueError, match="ending in '.keras'"):
        export.keras(network(), tmp_path / "net.h5")
    with pytest.raises(ValueError, match="Call it on a batch"):
        export.keras(keras.Sequential([keras.layers.Dense(2)]), tmp_path / "net.keras")
    assert os.listdir(tmp_path) == []
