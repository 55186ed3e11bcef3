"""The same recipe, weights and data on the three backends: the same curves, but for rounding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tfshed.observe.csv_table import read_table

ROOT = Path(__file__).parents[2]
EPOCHS = 8


def script(name, backend, workdir, *words):
    command = [
        sys.executable,
        str(ROOT / "scripts" / f"{name}.py"),
        f"--config={ROOT / 'configs' / 'digits_resnet8.py'}",
        f"--workdir={workdir}",
        f"--backend={backend}",
        *words,
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_curves_agree(tmp_path):
    words = ("--config.model.options={'width': 8, 'bn_momentum': .9}",)
    script("train", "tensorflow", tmp_path / "base", *words, f"--config.train.epochs={EPOCHS}")
    rows = {}
    for backend in ("tensorflow", "jax", "torch"):
        script(
            "prune",
            backend,
            tmp_path / backend,
            *words,
            f"--config.initial_weights={tmp_path / 'base'}",
            f"--config.prune.epochs={EPOCHS}",
            # At .1 the first steps are chaotic, and rounding grows.
            "--config.prune.learning_rate.rates=(.01,)",
            "--config.prune.learning_rate.milestones=()",
        )
        found = read_table(tmp_path / backend / "keep_ratio.csv")[1]
        rows[backend] = [row for row in found if row["event"] == "epoch"]
    assert len(rows["tensorflow"]) == EPOCHS
    for backend in ("jax", "torch"):
        for ours, theirs in zip(rows[backend], rows["tensorflow"], strict=True):
            assert ours["target"] == pytest.approx(theirs["target"], abs=1e-6)
            assert ours["actual"] == pytest.approx(theirs["actual"], abs=5e-3)
            assert ours["loss"] == pytest.approx(theirs["loss"], rel=0.02)
            assert ours["val_accuracy"] == pytest.approx(theirs["val_accuracy"], abs=0.02)
