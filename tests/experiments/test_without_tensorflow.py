"""Recipes on JAX and PyTorch in an environment that has no TensorFlow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SMALL = """
import sys
import numpy as np
from tfshed import datasets
from tfshed.experiments import Run, Settings, recipe

folder = sys.argv[1]
data = datasets.load("digits")
assert data.train(96, seed=0, epochs=1)[0][0].shape == (96, 8, 8, 1)
for name in ("folder:" + folder, "tfrecords:" + folder):
    try:
        datasets.load(name)
        raise AssertionError(name)
    except ValueError as error:
        assert "expected TensorFlow" in str(error), error
x, y = np.zeros((64, 8, 8), np.uint8), np.arange(64) % 10
np.savez(folder + "/mnist.npz", x_train=x, y_train=y, x_test=x, y_test=y)
assert datasets.load("mnist", data_dir=folder).examples == {"train": 64, "test": 64}

config = recipe()
config.model.name, config.train.epochs, config.prune.epochs = "lenet_300_100", 2, 2
config.data.augmentation, config.data.fraction = "pad_crop_flip", 0.3
config.train.learning_rate.milestones = config.prune.learning_rate.milestones = (0.5, 1.0)
config.prune.time_constant, config.prune.frequency = 0.3, 1
for phase in ("train", "prune"):
    path = f"{folder}/{phase}"
    found = Run(Settings(phase, config, path)).run(print_fn=lambda text: None)
    config.initial_weights = path
assert abs(found["keep_actual"] - 0.15) < 0.05, found
assert "tensorflow" not in sys.modules
print("done")
"""


def run(script, *words, backend):
    command = [sys.executable, str(ROOT / "tests" / "without_tensorflow.py"), str(script), *words]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": backend}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("backend", ["jax", pytest.param("torch", marks=pytest.mark.slow)])
def test_data_and_runs_need_no_tensorflow(backend, tmp_path):
    script = tmp_path / "small.py"
    script.write_text(SMALL)
    assert run(script, str(tmp_path), backend=backend).endswith("done\n")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_scripts_need_no_tensorflow(backend, tmp_path):
    words = (
        f"--config={ROOT / 'configs' / 'digits_resnet8.py'}",
        f"--backend={backend}",
        "--config.train.epochs=2",
        "--config.train.learning_rate.milestones=(1.,)",
        "--config.prune.epochs=2",
        "--config.data.fraction=0.2",
        "--config.data.augmentation=flip",
    )
    run(ROOT / "scripts" / "train.py", f"--workdir={tmp_path / 'base'}", *words, backend=backend)
    base = f"--config.initial_weights={tmp_path / 'base'}"
    found = run(
        ROOT / "scripts" / "prune.py",
        f"--workdir={tmp_path / 'p'}",
        *words,
        base,
        backend=backend,
    )
    assert "keep actual" in found and (tmp_path / "p" / "model.keras").is_file()
