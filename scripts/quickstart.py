"""Does cascade weight shedding happen here? Digits, one ResNet, four ways to prune it.

A residual network is trained on scikit-learn's digits and then pruned from the same weights: with
momentum .9 and with momentum 0, as the paper compares them, and beside these the controls without
which such a comparison says little. Azarian & Porikli 2021, arXiv 2103.10629, section 4.

    scripts/quickstart                  one seed, for a look
    scripts/quickstart --seeds 3        three: what may be believed

Everything is written to one folder, RUN_DIR: table.txt, table.json, curves_seed0.png, and for each
seed and arm the CSV files of tfshed.KeepRatio; the pruned network is in saved_model/. Stop it with
Ctrl-C and start it again with the same --run_dir: what is finished is used again.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

STEPS = 15  # an epoch: 1440 images in batches of 96


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--run_dir", type=Path, help="default: runs/quickstart-DATE-TIME")
    add("--seeds", type=_positive, default=1, help="runs of each arm, seeds 0, 1, ...; default 1")
    add("--matched", action="store_true", help="one arm more: momentum 0 at ten times the rate")
    add("--pretrained", type=Path, help="a .weights.h5 file to prune instead of training first")
    add("--epochs", type=_positive, default=35, help="of pruning, 15 steps each; default 35")
    add("--pretrain_epochs", type=_positive, default=54, help="default 54, 810 steps")
    add("--depth", type=int, default=8, help="of the ResNet, 6 n + 2; default 8")
    add("--width", type=_positive, default=16, help="filters of its first stage; default 16")
    backends = ("tensorflow", "jax", "torch")
    add("--backend", choices=backends, default="tensorflow", help="default tensorflow")
    chosen = parser.parse_args(argv)
    if chosen.depth < 8 or chosen.depth % 6 != 2:
        parser.error(f"--depth: expected a depth 6 n + 2 from 8 on, received {chosen.depth}")
    if chosen.pretrained is not None and not chosen.pretrained.name.endswith(".weights.h5"):
        parser.error(f"--pretrained: expected a .weights.h5 file, received {chosen.pretrained}")
    if chosen.pretrained is not None and not chosen.pretrained.is_file():
        parser.error(f"--pretrained: {chosen.pretrained} is not there")
    return chosen


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a number >= 1, received {text}")
    return value


def main(argv: list[str] | None = None) -> int:
    chosen = arguments(argv)
    # Before the first import of Keras, which reads it.
    os.environ["KERAS_BACKEND"] = chosen.backend
    path = chosen.run_dir or Path("runs", time.strftime("quickstart-%Y%m%d-%H%M%S"))
    print(f"Run directory: {path}", flush=True)
    import _quiet

    _quiet.import_tensorflow()
    from _quickstart import Settings, arms, run_seed
    from _quickstart_report import report

    from tfshed.observe.run_directory import RunDirectory

    settings = Settings(
        backend=chosen.backend,
        depth=chosen.depth,
        width=chosen.width,
        pretrain_epochs=chosen.pretrain_epochs,
        epochs=chosen.epochs,
        pretrained=str(chosen.pretrained.resolve()) if chosen.pretrained else None,
    )
    try:
        run = RunDirectory(path, vars(settings))
    except ValueError as error:
        print(f"quickstart: {error}", file=sys.stderr)
        return 2
    if run.resumed:
        print("Going on with it: what is finished there is used again.")
    # As one line among the others, without the place in the code.
    warnings.showwarning = lambda message, *rest, **more: print(f"note: {message}", flush=True)
    names = arms(chosen.matched)
    try:
        found: dict[str, list[Any]] = {arm.name: [] for arm in names}
        for seed in range(chosen.seeds):
            for name, outcome in run_seed(run, settings, names, seed).items():
                found[name].append(outcome)
        report(run, settings, found)
    except KeyboardInterrupt:
        print(
            f"\nStopped. What is finished is kept; this goes on with it:\n  {again(chosen, path)}",
            flush=True,
        )
        return 130
    if chosen.seeds == 1:
        print(
            "\nOne seed proves nothing: another may look otherwise. For three, using this one:\n"
            f"  {again(chosen, path, seeds=3)}"
        )
    print(f"\nAll of it is in {path}")
    return 0


def again(chosen: argparse.Namespace, path: Path, **changed: Any) -> str:
    """The command that goes on with a run."""
    given = {**vars(chosen), "run_dir": path, **changed}
    defaults = vars(arguments([]))
    words = ["scripts/quickstart"]
    for name, value in given.items():
        if value != defaults[name]:
            words.append(f"--{name}" if value is True else f"--{name} {value}")
    return " ".join(words)


if __name__ == "__main__":
    sys.exit(main())
