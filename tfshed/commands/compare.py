"""Runs a grid of retraining strategies, prunings and seeds, and makes a table of it.

    tfshed compare --config=digits --workdir=runs/digits_grid

A grid is a Python file with a function `get_grid`; `tfshed recipes` lists those that come with
tfshed. For each seed one net is trained. Every cell of the grid prunes and retrains this net in a
run directory of its own, WORKDIR/seed<S>/<row>--<column>; its progress is in the file of the same
name that ends in .log.txt. If the grid is stopped or killed, the same command finishes what is
missing. --processes=N runs the cells in N processes. At the end, WORKDIR has table.txt, .csv, .md,
.json and .png.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

from absl import flags

from tfshed.commands.command import Command
from tfshed.commands.run_flags import (
    define_backend,
    define_data_dir,
    define_deterministic,
    define_precision,
)
from tfshed.experiments.grids import run_grid
from tfshed.experiments.grids.grid_file import load_grid


def define(values: flags.FlagValues) -> None:
    """Defines the flags."""
    define_backend(values)
    flags.DEFINE_string(
        "config", None, "The name of a grid, or a file.", required=True, flag_values=values
    )
    flags.DEFINE_string(
        "workdir",
        None,
        "The folder of the grid. The same command finishes what is missing in it.",
        required=True,
        flag_values=values,
    )
    define_data_dir(values)
    flags.DEFINE_list(
        "seeds", None, "Seeds in place of those of the grid, such as 0,1,2.", flag_values=values
    )
    define_precision(values)
    define_deterministic(values)
    flags.DEFINE_integer(
        "processes", 1, "The number of processes to use.", lower_bound=1, flag_values=values
    )
    flags.DEFINE_integer(
        "part",
        0,
        "Which of the processes this is. The command itself sets it.",
        lower_bound=0,
        flag_values=values,
    )
    flags.DEFINE_bool("list", False, "List the runs and stop.", flag_values=values)


def run(given: flags.FlagValues) -> int:
    """Runs the grid and prints its table."""
    grid = load_grid(given.config)
    if given.seeds:
        grid = dataclasses.replace(grid, seeds=tuple(int(seed) for seed in given.seeds))
    if given.list:
        for cell in grid.cells():
            print(f"{cell.row:24s} {cell.column}")
        print(f"{len(grid.cells())} cells, {len(grid.seeds)} seeds")
        return 0
    options = {
        "data_dir": given.data_dir,
        "precision": given.precision,
        "deterministic": given.deterministic,
    }
    folder = Path(given.workdir)
    if given.processes > 1 and given.part == 0:
        # All processes need the trained nets, so these come first.
        run_grid(grid, folder, options=options, nets_only=True)
    others = []
    if given.part == 0:
        again = [sys.executable, "-m", "tfshed_command", "compare", *_words(given)]
        for part in range(1, given.processes):
            others.append(subprocess.Popen([*again, f"--part={part}"]))
    try:
        run_grid(grid, folder, options=options, part=(given.part, given.processes))
        codes = [process.wait() for process in others]
    finally:
        for process in others:
            process.terminate()
    if any(codes):
        return max(codes)
    if given.part:
        return 0
    table = run_grid(grid, folder, options=options, print_fn=lambda text: None)
    assert table is not None
    print(f"\n{table}\n\nThe grid's files are in {folder}")
    return 0


def _words(given: flags.FlagValues) -> list[str]:
    """The flags of this command, as words for another process."""
    return [given[name].serialize() for name in given if given[name].present]


COMMAND = Command(__doc__ or "", define, run)
