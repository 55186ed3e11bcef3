"""Runs a grid: nets once for each seed, then the cells; what is finished is not run again."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import keras

from tfshed.experiments.grids.grid import Cell, Grid
from tfshed.experiments.grids.grid_table import GridTable, write_table
from tfshed.experiments.recorded import read_json
from tfshed.experiments.run import RESULTS, Run
from tfshed.experiments.settings import Settings
from tfshed.observe.progress import duration
from tfshed.observe.run_directory import RunDirectory

LOG = "log.txt"


def run_grid(
    grid: Grid,
    folder: Path,
    *,
    options: Mapping[str, Any] | None = None,
    part: tuple[int, int] = (0, 1),
    nets_only: bool = False,
    rows: Collection[str] | None = None,
    show: bool = False,
    write: bool = True,
    print_fn: Callable[[str], None] = print,
) -> GridTable | None:
    """Runs what is missing of a grid and writes its table; several cells in one process.

    Every cell is an ordinary run directory, FOLDER/seed<S>/<row>--<column>, and the net of a seed
    is FOLDER/seed<S>/base. A grid that was killed resumes when it is started again.

    Args:
        grid: what to run.
        folder: where.
        options: of every run: `data_dir`, `precision`, `deterministic`.
        part: (index, count): only every `count`-th cell from `index` on, for several processes.
            Nets are trained by the first; the others need them to be there.
        nets_only: train the nets and run no cells. Default False.
        rows: run the cells of these rows only. Default None: of all rows.
        show: whether the progress of each run is printed. Default False: it is written to a file
            beside the run's folder.
        write: whether the table's files are written. Default True.
        print_fn: is told of the progress.

    Returns:
        The table; None if cells are missing, which other processes run.

    Raises:
        ValueError: the folder holds another grid, or it has no such row.
    """
    unknown = sorted(set(rows or ()) - set(grid.rows))
    if unknown:
        raise ValueError(f"rows: expected some of {list(grid.rows)}, received {unknown}")
    options = dict(options or {})
    folder = Path(folder)
    if part[0] == 0:
        RunDirectory(folder, grid.recorded(options))
    wanted = [cell for cell in grid.cells() if rows is None or cell.row in rows]
    cells = [(cell, seed) for seed in grid.seeds for cell in wanted][part[0] :: part[1]]
    work: list[tuple[str, list[Settings]]] = []
    if part[0] == 0 and not grid.weights:
        work += [(f"seed {s}, net", [grid.base_settings(folder, s, options)]) for s in grid.seeds]
    if nets_only:
        cells = []
    work += [(f"seed {s}, {c.label}", grid.cell_settings(c, folder, s, options)) for c, s in cells]
    _run_all(work, print_fn, show)
    return collect(grid, folder, write)


def _run_all(
    work: list[tuple[str, list[Settings]]], print_fn: Callable[[str], None], show: bool
) -> None:
    todo = [(name, runs) for name, runs in work if not (runs[-1].workdir / RESULTS).is_file()]
    if len(todo) < len(work):
        print_fn(f"{len(work) - len(todo)} of {len(work)} runs were finished earlier")
    started, steps = time.monotonic(), 0
    for number, (name, runs) in enumerate(todo, 1):
        for settings in runs:
            steps += run_one(settings, name if show else None)
        spent = time.monotonic() - started
        left = spent / number * (len(todo) - number)
        more = f", about {duration(left)} left" if number < len(todo) else ""
        print_fn(f"{number}/{len(todo)} {name}: {duration(spent)}{more}")


def run_one(settings: Settings, label: str | None = None) -> int:
    """One run with its lines in a file beside its folder, or shown under a label; its steps."""
    run = Run(settings, label=label)
    settings.workdir.parent.mkdir(parents=True, exist_ok=True)
    log = settings.workdir.with_name(f"{settings.workdir.name}.{LOG}")
    if label is not None:
        run.run(print_fn=lambda text: None)
    else:
        with log.open("a", encoding="utf-8") as file, contextlib.redirect_stdout(file):
            run.run(print_fn=print)
    steps = run.total_steps
    del run
    # The graphs and arrays of a cell are of no use to the next one.
    keras.backend.clear_session(free_memory=False)
    gc.collect()
    return steps


def collect(grid: Grid, folder: Path, write: bool = True) -> GridTable | None:
    """The table of a grid whose cells are all finished, written to its folder; else None."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for cell in grid.cells():
        results = [_result(folder, cell, seed) for seed in grid.seeds]
        if any(result is None for result in results):
            return None
        found[cell.row, cell.column] = [result for result in results if result is not None]
    seeds = () if grid.weights else grid.seeds
    nets = [read_json(folder / f"seed{seed}" / "base" / RESULTS) for seed in seeds]
    table = GridTable(grid.seeds, list(grid.rows), list(grid.all_columns()), found, nets)
    if write:
        write_table(table, folder)
    return table


def _result(folder: Path, cell: Cell, seed: int) -> dict[str, Any] | None:
    found: dict[str, Any] | None = read_json(folder / f"seed{seed}" / cell.folder / RESULTS)
    return found
