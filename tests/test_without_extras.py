"""tfshed where the packages of the extra `experiments` are not installed."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

import tfshed
from tfshed import datasets, experiments
from tfshed.commands.run_command import run_command
from tfshed.core.extras import INSTALLED_AS

ROOT = Path(__file__).resolve().parents[1]
HIDDEN = ("matplotlib", "ml_collections", "PIL", "sklearn", "tensorboard")
ASKS = 'Install it with `pip install "tfshed[experiments]"`.'

HIDE = f"""
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HIDDEN}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
"""
PRUNE = """
import sys, tfshed_command
# TensorFlow up to 2.20 installs TensorBoard itself, and imports it.
tfshed_command.import_tensorflow()
sys.meta_path.insert(0, Hidden())
import keras, numpy as np, tfshed
layers = [keras.Input((8,)), keras.layers.Dense(4, name="hidden"), keras.layers.Dense(2)]
net = keras.Sequential(layers)
schedule = tfshed.OneShot(0.5, step=1)
model = tfshed.prune_low_magnitude(net, schedule, granularity=tfshed.Filter())
model.compile("sgd", "mse")
callbacks = [tfshed.UpdatePruningStep(), tfshed.KeepRatio()]
x, y = np.ones((8, 8), "float32"), np.ones((8, 2), "float32")
model.fit(x, y, batch_size=4, verbose=0, callbacks=callbacks)
sparse = tfshed.strip_pruning(model)
print(tfshed.summary(sparse, print_fn=lambda text: None).total_sparsity)
tfshed.export.keras(sparse, sys.argv[1])
tfshed.export.shrink(sparse)
print(tfshed.export.report(sparse, formats=()).text[:9])
print(tfshed.retrain.__name__, tfshed.KeepEpochs.__name__)
"""


def test_pruning_exporting_and_reporting_need_none_of_them(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", HIDE + PRUNE, str(tmp_path / "net.keras")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    sparsity, report, names = done.stdout.splitlines()
    assert float(sparsity) >= 0.4 and report.startswith("Report on")
    assert names == "retrain KeepEpochs" and (tmp_path / "net.keras").is_file()


@pytest.fixture
def hidden(monkeypatch):
    """Hides the packages in this process; those that were imported are back after the test."""
    scope: dict = {}
    exec(HIDE, scope)
    for name in [name for name in sys.modules if name.partition(".")[0] in HIDDEN]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [scope["Hidden"](), *sys.meta_path])


def folder_of_images(path):
    for split in ("train", "test"):
        (path / split / "cat").mkdir(parents=True)
        (path / split / "cat" / "one.png").write_bytes(b"")
    return datasets.load(f"folder:{path}")


def web_page(path):
    net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    return tfshed.export.report(net, formats=(), path=path / "report")


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (lambda path: tfshed.KeepRatio(path), "KeepRatio with plot=True needs matplotlib"),
        (
            lambda path: tfshed.KeepRatio(path, plot=False),
            "KeepRatio with tensorboard=True needs tensorboard",
        ),
        (
            lambda path: tfshed.plots.keep_ratio_plot({"": [{"step": 1}]}, path / "p.png"),
            "keep_ratio_plot needs matplotlib",
        ),
        (web_page, "The report as a web page needs matplotlib"),
        (lambda path: datasets.load_digits(), "The data set of digits needs scikit-learn"),
        (folder_of_images, "A folder of images needs pillow"),
        (lambda path: experiments.recipe(), "A recipe needs ml-collections"),
    ],
)
def test_each_missing_one_is_an_error_that_names_the_extra(hidden, tmp_path, use, said):
    with pytest.raises(ModuleNotFoundError) as error:
        use(tmp_path)
    assert str(error.value) == f"{said}, which is not installed. {ASKS}"
    assert not (tmp_path / "report").exists()


def test_a_command_says_it_in_one_line(hidden, tmp_path, capsys):
    code = run_command("train", ["--config=digits_resnet8", f"--workdir={tmp_path}"])
    assert code == 2
    assert capsys.readouterr().err == (
        f"tfshed train: A recipe needs ml-collections, which is not installed. {ASKS}\n"
    )


def test_the_extra_installs_what_is_hidden_here():
    read = configparser.ConfigParser()
    read.read(ROOT / "setup.cfg")
    listed = read["options.extras_require"]["experiments"].split()
    names = {each.partition(">")[0] for each in listed if each[0].isalpha() and ">" in each}
    assert names == {INSTALLED_AS.get(name, name) for name in HIDDEN}
    base = read["options"]["install_requires"]
    assert not [name for name in names if name in base]
