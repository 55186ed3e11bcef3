"""The report and the export at the end of scripts/quickstart."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfshed import datasets, export
from tfshed.experiments import analysis
from tfshed.experiments.grids import Grid
from tfshed.experiments.grids.quickstart_grid import CONTROL, FIXED, HIGH, LABELS, LOW, MATCHED
from tfshed.observe import plots
from tfshed.observe.csv_table import read_table
from tfshed.observe.run_directory import RunDirectory, versions

Outcomes = dict[str, list[analysis.Outcome]]


def outcomes(run: RunDirectory, grid: Grid) -> Outcomes:
    """The outcomes of the runs of a finished grid, and a plot of the curves of each seed."""
    found: Outcomes = {name: [] for name in grid.rows}
    for seed in grid.seeds:
        tables = {}
        for cell in grid.cells():
            folder = run.path / f"seed{seed}" / cell.folder
            result = run.read_json(f"seed{seed}/{cell.folder}/results.json")
            steps = result["steps"] // result["epochs"]
            speed = result["steps_per_second"]
            found[cell.row].append(
                analysis.outcome(
                    read_table(folder / "keep_ratio.csv")[1],
                    steps_per_epoch=steps,
                    before=result["before"]["accuracy"],
                    pruned=cell.row != CONTROL,
                    observed=result.get("observe", False),
                    seed=seed,
                    sparsity=result["kernel_sparsity"],
                    seconds=result["steps"] / speed if speed else 0.0,
                )
            )
            tables[LABELS[cell.row]] = folder / "keep_ratio.csv"
        kept = 1 - grid.config.prune.sparsity
        plots.keep_ratio_plot(
            tables,
            run.path / f"curves_seed{seed}.png",
            metric="val_accuracy",
            steps_per_epoch=steps,
            title=f"{grid.config.model.name} on digits, pruned to {kept:.0%} of its weights, "
            f"seed {seed}",
        )
    return found


def report(
    run: RunDirectory, grid: Grid, settings: Mapping[str, Any], print_fn: Any = print
) -> None:
    """Prints and writes the table and the findings of a finished grid; exports the pruned net.

    Args:
        run: The folder of the grid.
        grid: Of `quickstart_grid`.
        settings: What the user has chosen, for table.json.
        print_fn: Is given the texts.
    """
    print_fn("\n" + "\n".join(write_files(run)))
    found = outcomes(run, grid)
    table = analysis.outcome_table(found)
    _, test = datasets.load_digits()
    said = analysis.describe(
        *(found[name] for name in (HIGH, LOW, CONTROL, FIXED)),
        matched=found.get(MATCHED),
        tests=len(test[0]),
    )
    seeds = len(grid.seeds)
    what = "one seed" if seeds == 1 else f"mean of {seeds} seeds, +- half the range"
    text = (
        f"{table}\n({what}; target and actual are keep-ratios; accuracy on {len(test[0])} test "
        "images)\n"
    )
    text += "\n" + "\n".join(f"- {line}" for line in said) + "\n"
    print_fn("\n" + text)
    exported = export_network(run)
    print_fn(exported)
    run.write_text("table.txt", f"{text}\n{exported}\n")
    run.write_json(
        "table.json",
        {
            "settings": dict(settings),
            "versions": versions(),
            "seeds": list(grid.seeds),
            "arms": {name: [dataclasses.asdict(o) for o in each] for name, each in found.items()},
            "findings": said,
            "export": exported,
        },
    )
    print_fn(f"\nCurves: {run.path / 'curves_seed0.png'}   Table: {run.path / 'table.txt'}")


def pruned_file(run: RunDirectory) -> Path:
    """The net of the first seed and row."""
    folder = HIGH.replace(" ", "-")
    return run.path / "seed0" / folder / "model.keras"


def write_files(run: RunDirectory) -> list[str]:
    """Writes the pruned net of the first arm as a small file, and the report on it.

    Returns:
        Lines that say what to look at first.
    """
    net = keras.saving.load_model(pruned_file(run))
    small = export.keras(net, run.path / "pruned.keras", overwrite=True)
    page = run.path / "report" / "report.html"
    # The other formats are measured by `tfshed report`, which takes longer.
    export.report(net, path=page.parent, formats=("float32", "keras", "deflated_keras"))
    return [
        "Look at these first:",
        f"  {page}   is the pruned net sparse, smaller, faster?",
        f"  {small}   the pruned net, which keras.saving.load_model opens",
        f"  tensorboard --logdir {run.path / 'seed0'}   accuracy and keep-ratios of all runs",
    ]


def export_network(run: RunDirectory) -> str:
    """Exports the network of the first arm as a SavedModel, loads it and compares the outputs.

    Returns:
        A sentence that says where the export is and how its outputs compare.
    """
    file = pruned_file(run)
    if keras.backend.backend() == "torch":
        return (
            f"The pruned network is in {file}. A SavedModel cannot hold PyTorch's operations: load "
            "the file with KERAS_BACKEND=tensorflow and use tfshed.export.saved_model."
        )
    net = keras.saving.load_model(file)
    data = datasets.load("digits")
    images = np.concatenate([np.asarray(x) for x, _ in data.evaluation(512)])
    path = export.saved_model(net, run.path / "saved_model", overwrite=True)
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    got = np.asarray(loaded.serve(images))
    if keras.backend.backend() == "tensorflow":
        same = np.asarray(tf.function(lambda x: net(x, training=False))(images))
        if not np.array_equal(got, same):
            raise RuntimeError(
                f"{path}: outputs differ from the model's by {abs(got - same).max()}"
            )
        return (
            f"Exported to {path}. Loaded with tf.saved_model.load, its outputs for {len(images)} "
            "test images are bit-identical to those of tf.function(model)."
        )
    same = np.asarray(keras.ops.convert_to_numpy(net(images, training=False)))
    np.testing.assert_allclose(got, same, rtol=1e-4, atol=1e-4)
    return (
        f"Exported to {path}. Loaded with tf.saved_model.load, its outputs for {len(images)} test "
        "images agree with the model's up to float rounding (the largest difference is "
        f"{abs(got - same).max():.1e})."
    )
