"""Runs a grid of retraining strategies, prunings and seeds, and makes one table of it.

    python scripts/compare.py --config=configs/grids/digits.py --workdir=runs/digits_grid

A grid is a file of configs/grids/ with a function `get_grid`. For each seed one net is trained;
every cell prunes and retrains it in an ordinary run directory, WORKDIR/seed<S>/<row>--<column>,
with its progress in the file of that name that ends in .log.txt. Killed and started again, the same
command finishes what is missing. --processes=N runs the cells in N processes. In the end WORKDIR
has table.txt, .csv, .md, .json and .png.
"""

import subprocess
import sys
from pathlib import Path

import _cli
from absl import flags


def define() -> None:
    """The flags."""
    _cli.define_backend()
    flags.DEFINE_string("config", None, "The grid, a file of configs/grids/.")
    flags.DEFINE_string(
        "workdir", None, "The folder; the same command finishes what is missing in it."
    )
    flags.DEFINE_string("data_dir", None, "Folder of the data sets, as of train.py.")
    flags.DEFINE_list("seeds", None, "Seeds in place of the grid's, such as 0,1,2.")
    flags.DEFINE_enum("precision", "float32", _cli.PRECISIONS, "Keras' dtype policy.")
    flags.DEFINE_bool("deterministic", False, "Results that repeat to the bit; slower.")
    flags.DEFINE_integer("processes", 1, "Run cells in so many processes.", lower_bound=1)
    flags.DEFINE_integer("part", 0, "Which of them this is; set by the script.", lower_bound=0)
    flags.DEFINE_bool("list", False, "Name the runs and stop.")
    flags.mark_flags_as_required(["config", "workdir"])


def main() -> int:
    """Runs the grid."""
    import dataclasses

    from tfshed.experiments.grids import run_grid
    from tfshed.experiments.grids.grid_file import load_grid

    given = flags.FLAGS
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
        # The nets first, which all processes need.
        run_grid(grid, folder, options=options, nets_only=True)
    others = []
    if given.part == 0:
        for part in range(1, given.processes):
            others.append(subprocess.Popen([sys.executable, *sys.argv, f"--part={part}"]))
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
    print(f"\n{table.text()}\n\nThe grid's files are in {folder}")
    return 0


if __name__ == "__main__":
    define()
    flags.adopt_module_key_flags(_cli)
    _cli.main(main)
