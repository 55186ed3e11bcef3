"""The report and the export at the end of scripts/quickstart."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
from _quickstart import CONTROL, FIXED, HIGH, KEPT, LOW, MATCHED, Settings, network

from tfshed import datasets, export
from tfshed.experiments import analysis
from tfshed.observe.run_directory import RunDirectory, versions


def report(run: RunDirectory, settings: Settings, found: dict[str, list[analysis.Outcome]]) -> None:
    """Prints and writes the table and the findings, and exports the pruned network."""
    table = analysis.outcome_table(found)
    _, test = datasets.load_digits()
    said = analysis.describe(
        *(found[arm.name] for arm in (HIGH, LOW, CONTROL, FIXED)),
        matched=found.get(MATCHED.name),
        tests=len(test[0]),
    )
    seeds = len(found[HIGH.name])
    what = "one seed" if seeds == 1 else f"mean of {seeds} seeds, +- half the range"
    text = (
        f"{table}\n({what}; target and actual are keep-ratios; accuracy on {len(test[0])} test "
        "images)\n"
    )
    text += "\n" + "\n".join(f"- {line}" for line in said) + "\n"
    print("\n" + text)
    exported = export_network(run, settings, test[0])
    print(exported)
    run.write_text("table.txt", f"{text}\n{exported}\n")
    arms_found = {name: [dataclasses.asdict(o) for o in each] for name, each in found.items()}
    run.write_json(
        "table.json",
        {
            "settings": dataclasses.asdict(settings),
            "versions": versions(),
            "seeds": list(range(seeds)),
            "arms": arms_found,
            "findings": said,
            "export": exported,
        },
    )
    print(f"\nCurves: {run.path / 'curves_seed0.png'}   Table: {run.path / 'table.txt'}")


def export_network(run: RunDirectory, settings: Settings, images: np.ndarray) -> str:
    """Exports the network of the first arm as a SavedModel, loads it and compares the outputs.

    Returns:
        A sentence that says where the export is and how its outputs compare.
    """
    net = network(settings, 0)
    net.load_weights(run.path / "seed0" / HIGH.folder / KEPT)
    if settings.backend == "torch":
        net.save(run.path / "pruned.keras")
        return (
            f"The pruned network is in {run.path / 'pruned.keras'}. A SavedModel cannot hold "
            "PyTorch's operations: load the file with KERAS_BACKEND=tensorflow and use "
            "tfshed.export.saved_model."
        )
    path = export.saved_model(net, run.path / "saved_model", overwrite=True)
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    got = np.asarray(loaded.serve(images))
    if settings.backend == "tensorflow":
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
