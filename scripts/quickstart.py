"""Does cascade weight shedding happen here? Digits, one ResNet, four ways to prune it.

A residual network is trained on scikit-learn's digits. Starting from the same weights, it is then
pruned with momentum 0.9 and with momentum 0, which the paper compares, and run with the controls
that such a comparison needs. Azarian & Porikli 2021, arXiv 2103.10629, section 4.

    scripts/quickstart                  one seed, for a first look
    scripts/quickstart --seeds 3        three seeds, for a result that can be trusted

This is the grid of tfshed/experiments/grids/quickstart_grid.py. All files are written to one
folder, RUN_DIR: table.txt, table.json, curves_seed0.png, and for each seed and arm an ordinary run
directory with the CSV files of tfshed.KeepRatio, TensorBoard's files and model.keras. The pruned
network is in saved_model/. You can stop it with Ctrl-C and run it again with the same --run_dir:
finished parts are not repeated.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

# Of the ResNets that tfshed.models.build knows by name.
DEPTHS = (8, 14, 20, 26, 32, 38, 44, 56, 62, 110)


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--run_dir", type=Path, help="output folder; default runs/quickstart-DATE-TIME")
    add("--seeds", type=_positive, default=1, help="number of seeds (0, 1, ...); default 1")
    add("--matched", action="store_true", help="adds an arm with momentum 0 and ten times the rate")
    add("--pretrained", type=Path, help="a .weights.h5 file to prune, instead of training first")
    add("--epochs", type=_positive, default=35, help="epochs of pruning, 15 steps each; default 35")
    add("--pretrain_epochs", type=_positive, default=54, help="epochs of training; default 54")
    add("--depth", type=int, default=8, help="depth of the ResNet, 6 n + 2; default 8")
    add("--width", type=_positive, default=16, help="filters of the first stage; default 16")
    backends = ("tensorflow", "jax", "torch")
    add("--backend", choices=backends, default="tensorflow", help="Keras' backend")
    chosen = parser.parse_args(argv)
    if chosen.depth not in DEPTHS:
        parser.error(f"--depth: expected 6 n + 2 with n >= 1, of {DEPTHS}, received {chosen.depth}")
    if chosen.pretrained is not None and not chosen.pretrained.name.endswith(".weights.h5"):
        parser.error(f"--pretrained: expected a .weights.h5 file, received {chosen.pretrained}")
    if chosen.pretrained is not None and not chosen.pretrained.is_file():
        parser.error(f"--pretrained: expected an existing file, received {chosen.pretrained}")
    return chosen


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a number >= 1, received {text}")
    return value


def main(argv: list[str] | None = None) -> int:
    """Runs the experiment; returns the exit code."""
    chosen = arguments(argv)
    # This must be set before the first import of Keras, which reads it.
    os.environ["KERAS_BACKEND"] = chosen.backend
    path = chosen.run_dir or Path("runs", time.strftime("quickstart-%Y%m%d-%H%M%S"))
    print(f"Run directory: {path}", flush=True)
    import tfshed_command

    tfshed_command.import_tensorflow()
    from _quickstart_report import report

    from tfshed.experiments.grids import run_grid
    from tfshed.experiments.grids.quickstart_grid import quickstart_grid
    from tfshed.experiments.interruption import InterruptedRunError
    from tfshed.observe.run_directory import RunDirectory

    # Warnings are shown as one line, without the place in the code.
    warnings.showwarning = lambda message, *rest, **more: print(f"note: {message}", flush=True)
    grid = quickstart_grid(
        depth=chosen.depth,
        width=chosen.width,
        training_epochs=chosen.pretrain_epochs,
        epochs=chosen.epochs,
        seeds=chosen.seeds,
        matched=chosen.matched,
        weights=str(chosen.pretrained.resolve()) if chosen.pretrained else "",
    )
    try:
        run = RunDirectory(path, grid.recorded())
    except ValueError as error:
        print(f"quickstart: {error}", file=sys.stderr)
        return 2
    if run.resumed:
        print("Resuming this run: its finished parts are not repeated.")
    settings = {name: value for name, value in vars(chosen).items() if name != "run_dir"}
    settings["pretrained"] = grid.weights or None
    try:
        run_grid(grid, path, show=True, write=False)
        report(run, grid, settings)
    except (KeyboardInterrupt, InterruptedRunError) as error:
        print(
            f"\nStopped. Finished parts are kept. To resume, run:\n  {again(chosen, path)}",
            flush=True,
        )
        return 128 + getattr(error, "signal", 2)
    if chosen.seeds == 1:
        print(
            "\nOne seed proves nothing: another one may give other results. To run three seeds, "
            f"which uses this one again:\n  {again(chosen, path, seeds=3)}"
        )
    print(f"\nAll files are in {path}")
    return 0


def again(chosen: argparse.Namespace, path: Path, **changed: Any) -> str:
    """The command that resumes a run, with some arguments changed."""
    given = {**vars(chosen), "run_dir": path, **changed}
    defaults = vars(arguments([]))
    words = ["scripts/quickstart"]
    for name, value in given.items():
        if value != defaults[name]:
            words.append(f"--{name}" if value is True else f"--{name} {value}")
    return " ".join(words)


if __name__ == "__main__":
    sys.exit(main())
