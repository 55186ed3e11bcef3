"""Grids: cells, controls, one table; killed and started again, the same table."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from tfshed import datasets
from tfshed.experiments import recipe
from tfshed.experiments.grids import Grid, run_grid
from tfshed.experiments.grids.grid_file import load_grid
from tfshed.experiments.grids.usual import prunings, strategies

ROOT = Path(__file__).parents[2]
GRIDS = sorted((ROOT / "configs" / "grids").glob("*.py"))

SMALL = """
from tfshed.experiments import recipe
from tfshed.experiments.grids import Grid
from tfshed.experiments.grids.usual import prunings, strategies


def get_grid():
    config = recipe()
    config.model.name, config.data.fraction, config.data.held_out = "lenet_300_100", 0.3, 0.1
    config.train.epochs, config.retrain.epochs = 3, 2
    config.train.learning_rate.rates = (0.1, 0.01)
    config.train.learning_rate.milestones = (2.0,)
    # XLA would compile eight nets.
    for phase in (config.train, config.prune, config.retrain):
        phase.jit_compile = "false"
    rows = strategies(("rewind_weights",))
    return Grid(config, rows, prunings((0.8,), magnitude={}), seeds=(0, 1))
"""


@pytest.fixture
def small(tmp_path):
    file = tmp_path / "small.py"
    file.write_text(SMALL)
    return file


def quiet(text):
    pass


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_every_grid_is_whole_and_says_what_it_is(path):
    grid = load_grid(str(path))
    text = path.read_text()
    for word in ("--workdir=", "Time:", "Expected", "tfshed compare"):
        assert word in text
    assert grid.cells()
    if grid.phase == "retrain":
        assert "not pruned" in grid.all_columns()
        assert any(name.startswith("random ") for name in grid.all_columns())
    else:  # the controls of grids that prune are rows or columns
        assert any("shadow" in name for name in (*grid.rows, *grid.all_columns()))
    for cell in grid.cells():
        (settings,) = grid.cell_settings(cell, Path("w"), 1, {})[-1:]
        assert settings.seed == 1 and settings.config.initial_weights == "w/seed1/base"


def test_nets_keep_the_epochs_that_cells_go_back_to():
    config = recipe()
    config.train.epochs, config.retrain.epochs = 20, 6
    rows = strategies(("rewind_weights", "lottery_ticket", "fine_tune"))
    grid = Grid(config, rows, prunings((0.8,), magnitude={}), seeds=(3,))
    base = grid.base_settings(Path("w"), 3, {})
    assert base.config.checkpoint.keep_epochs == (0, 14) and base.phase == "train"
    assert list(grid.all_columns()) == ["not pruned", "random 0.8", "magnitude 0.8"]
    alone = Grid(config, rows, prunings((0.8,), magnitude={}), controls=False)
    assert list(alone.all_columns()) == ["magnitude 0.8"]
    with pytest.raises(ValueError, match="rows: expected at least one"):
        Grid(config, {}, {"a": {}})
    with pytest.raises(ValueError, match="Did you mean 'fine_tune'"):
        Grid(config, strategies(("fine_tun",)), {"a": {}})
    with pytest.raises(ValueError, match="names that differ"):
        Grid(config, strategies(("fine_tune",)), {"a b": {}, "a-b": {}})


def test_the_examples_held_out_are_not_trained_on():
    whole = datasets.load("digits")
    data = whole.with_held_out(0.1)
    assert data.examples == {"train": 1296, "test": 357, "held_out": 144}

    def images(source, split):
        batches = source.evaluation(500, split=split)
        return {np.asarray(x).tobytes() for batch, _ in batches for x in np.asarray(batch)}

    trained, held = images(data, "train"), images(data, "held_out")
    assert not trained & held and trained | held == images(whole, "train")
    with pytest.raises(ValueError, match="fraction"):
        whole.with_held_out(1.5)


def test_a_grid_has_one_table_of_last_and_best_epochs(small, tmp_path):
    grid = load_grid(str(small))
    said = []
    table = run_grid(grid, tmp_path / "g", print_fn=said.append)
    assert len(said) == 2 + 2 * 3 and "8/8" in said[-1] and "left" in said[0]
    assert len(table.nets) == 2 and len(table.results) == 3
    values = table.accuracies("rewind_weights", "magnitude 0.8")
    mean = f"{np.mean(values):.4f} +- {np.std(values, ddof=1):.4f}"
    for suffix in ("txt", "md"):
        text = (tmp_path / "g" / f"table.{suffix}").read_text()
        assert mean in text and "best epoch on held-out" in text and "2 seeds" in text
    rows = (tmp_path / "g" / "table.csv").read_text().splitlines()
    assert len(rows) == 1 + 6 and rows[0].startswith("row,column,seed,accuracy,best_epoch")
    found = json.loads((tmp_path / "g" / "table.json").read_text())
    assert found["seeds"] == [0, 1] and len(found["cells"]) == 3
    one = found["cells"][0]["results"][0]
    # Chosen by what was held out, evaluated on the test images, like the last epoch.
    assert set(one["best"]) == {"loss", "accuracy", "epoch", "held_out_accuracy"}
    assert one["best"]["epoch"] in (1, 2)
    assert (tmp_path / "g" / "table.png").stat().st_size > 1000
    dense = table.results["rewind_weights", "not pruned"][0]
    assert dense["kernel_sparsity"] < 1e-3
    assert table.results["rewind_weights", "random 0.8"][0]["kernel_sparsity"] == pytest.approx(0.8)
    # Nothing is run again.
    again = []
    assert run_grid(grid, tmp_path / "g", print_fn=again.append).text() == table.text()
    assert again == ["8 of 8 runs were finished earlier"]
    other = recipe()
    with pytest.raises(ValueError, match="was made with other settings"):
        run_grid(Grid(other, grid.rows, grid.columns), tmp_path / "g")


def compare(small, folder, *words):
    command = [sys.executable, str(ROOT / "scripts" / "compare.py"), f"--config={small}"]
    command += [f"--workdir={folder}", f"--backend={keras.backend.backend()}", *words]
    return subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_killed_and_started_again_it_ends_with_the_same_table(small, tmp_path):
    words = ("--deterministic", "--seeds=0")
    whole = compare(small, tmp_path / "whole", *words)
    text = whole.communicate(timeout=900)[0]
    assert whole.returncode == 0, text
    broken = compare(small, tmp_path / "broken", *words)
    # In the midst of the second cell.
    second = tmp_path / "broken" / "seed0" / "rewind_weights--random-0.8" / "settings.json"
    deadline = time.monotonic() + 600
    while not second.is_file() and time.monotonic() < deadline and broken.poll() is None:
        time.sleep(0.02)
    broken.send_signal(signal.SIGKILL)
    broken.communicate()
    assert second.is_file() and not (tmp_path / "broken" / "table.txt").exists()
    again = compare(small, tmp_path / "broken", *words)
    text = again.communicate(timeout=900)[0]
    assert again.returncode == 0 and "were finished earlier" in text, text
    for name in ("table.txt", "table.csv", "table.md", "table.json"):
        assert (tmp_path / "broken" / name).read_text() == (tmp_path / "whole" / name).read_text()


@pytest.mark.slow
def test_two_processes_share_the_cells(small, tmp_path):
    both = compare(small, tmp_path / "g", "--seeds=0", "--processes=2")
    text = both.communicate(timeout=900)[0]
    assert both.returncode == 0 and "magnitude 0.8" in text, text
    assert (tmp_path / "g" / "table.json").is_file()
