r"""Reproduces the figures and claims of the cascade paper at a scale that fits the machine.

    tfshed reproduce --figure=3 --scale=digits --workdir=runs/cascade_digits
    tfshed reproduce --all --scale=mnist_noise --workdir=runs/cascade_mnist_noise --data_dir=DATA
    tfshed reproduce --all --scale=cifar10 --workdir=runs/cascade_cifar10

A figure's runs are made with the grid of its scale (`tfshed recipes` lists it as cascade_SCALE),
which figures share. If it is stopped or killed, the same command finishes what is missing. It draws
the figures into the folder, and prints for each of the paper's 24 claims whether it holds, does not
hold or is not decided. The scales cifar10 and imagenet print what they would run and what it costs.
With --planned cifar10 is run; all runs resume exactly, so that slices of ten minutes will do:

    timeout -s TERM 600 tfshed reproduce --all --scale=cifar10 --planned \
        --workdir=runs/cascade_cifar10 --data_dir=DATA

    tfshed reproduce --report=docs/reproduction.md --scale=digits --workdir=runs/cascade_digits

This runs nothing and writes the part of the report about this scale from the folder. Source:
Azarian & Porikli 2021, arXiv 2103.10629.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from tfshed.commands.command import Command
from tfshed.commands.run_flags import define_backend, define_data_dir
from tfshed.experiments.interruption import InterruptedRunError
from tfshed.experiments.recipe_files import folder
from tfshed.experiments.reproduction import FIGURES, reproduce
from tfshed.experiments.reproduction.page import write_report

SCALES = ("digits", "mnist_noise", "cifar10", "imagenet")


def define(values: flags.FlagValues) -> None:
    """Defines the flags."""
    define_backend(values)
    flags.DEFINE_integer(
        "figure",
        None,
        "The number of a figure.",
        lower_bound=1,
        upper_bound=6,
        flag_values=values,
    )
    flags.DEFINE_bool("all", False, "All figures.", flag_values=values)
    flags.DEFINE_enum(
        "scale", "digits", SCALES, "Data, net and length of the runs.", flag_values=values
    )
    flags.DEFINE_string(
        "workdir",
        None,
        "The folder of the runs. The same command finishes what is missing in it.",
        required=True,
        flag_values=values,
    )
    define_data_dir(values)
    flags.DEFINE_list("seeds", None, "Seeds in place of 0, 1 and 2.", flag_values=values)
    flags.DEFINE_bool(
        "planned", False, "Run a scale that is only planned, on a GPU.", flag_values=values
    )
    flags.DEFINE_string(
        "report",
        None,
        "Write this Markdown file from finished runs, and run nothing.",
        flag_values=values,
    )


def run(given: flags.FlagValues) -> int:
    """Runs, draws and prints."""
    if (given.figure is None) != (given.all or bool(given.report)):
        raise ValueError("expected one of --figure=N, --all and --report=FILE")
    try:
        found = reproduce(
            given.scale,
            [given.figure] if given.figure else sorted(FIGURES),
            Path(given.workdir),
            folder("grid"),
            seeds=[int(seed) for seed in given.seeds] if given.seeds else None,
            options={"data_dir": given.data_dir},
            run=not given.report,
            planned=given.planned,
        )
    except InterruptedRunError as error:
        print(f"\n{error}", flush=True)
        return 128 + error.signal
    if given.report and found is not None:
        write_report(Path(given.report), found)
        print(f"Written to {given.report}.")
    return 0


COMMAND = Command(__doc__ or "", define, run)
