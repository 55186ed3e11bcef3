"""Runs what figures need, draws them, and checks the claims about them."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfshed.core.arguments import check_int
from tfshed.core.near_miss import near_miss
from tfshed.experiments.grids import Grid, run_grid
from tfshed.experiments.grids.grid_file import load_grid
from tfshed.experiments.reproduction.arms import dense_arms, depthwise_arms
from tfshed.experiments.reproduction.check_claims import Found, check_claims
from tfshed.experiments.reproduction.draw import draw
from tfshed.experiments.reproduction.figures import FIGURES
from tfshed.experiments.reproduction.records import Arm, Record
from tfshed.experiments.reproduction.scales import SCALES, Scale

# The grid of each kind of net, and its folder in that of the reproduction.
NETS = ("dense", "depthwise")


@dataclasses.dataclass(frozen=True)
class Reproduction:
    """What was found at one scale.

    Attributes:
        scale: The scale.
        seeds: Of the runs.
        arms: The finished runs by the name of their arm.
        found: What they say about each claim that was checked.
        pictures: The files of the figures that were drawn, by number.
    """

    scale: Scale
    seeds: tuple[int, ...]
    arms: Mapping[str, Arm]
    found: Sequence[Found]
    pictures: Mapping[int, Path]


def reproduce(
    scale: str,
    figures: Sequence[int],
    folder: Path,
    grids: Path,
    *,
    seeds: Sequence[int] | None = None,
    options: Mapping[str, Any] | None = None,
    run: bool = True,
    planned: bool = False,
    print_fn: Callable[[str], None] = print,
) -> Reproduction | None:
    """Reproduces figures of the paper at a scale; what is finished is not run again.

    Every run is an ordinary run directory of a grid, FOLDER/NET/seed<S>/<arm>--run, and figures
    share their arms. The pictures are FOLDER/figure<N>.png.

    Args:
        scale: A name of `SCALES`.
        figures: Numbers of figures, 1 to 6.
        folder: Where the runs are.
        grids: The folder that holds the grid of each scale, cascade_<scale>.py.
        seeds: In place of the grid's, 0, 1 and 2. Default None.
        options: Of every run: `data_dir`, `precision`, `deterministic`. Default None.
        run: Whether missing runs are run. Default True; False draws and checks what is there.
        planned: Whether a scale that needs a GPU is run, too. Default False: its plan is printed.
        print_fn: Is told of the progress and the results.

    Returns:
        What was found; None if a plan was printed.

    Raises:
        ValueError: A name or a number is unknown, or the folder holds other runs.
        FileNotFoundError: There is no grid of this scale.
    """
    if scale not in SCALES:
        raise ValueError(
            f"scale: expected one of {', '.join(SCALES)}, received {scale!r}."
            f"{near_miss(scale, SCALES)}"
        )
    for number in figures:
        check_int("figures", number, min(FIGURES), max(FIGURES))
    chosen = SCALES[scale]
    wanted = list(dict.fromkeys(name for n in figures for name in FIGURES[n].arms))
    if not chosen.runs and not planned:
        print_fn(plan(chosen, wanted, len(seeds or (0, 1, 2))))
        return None
    nets = {net: _grid(grids, scale, net, seeds) for net in NETS}
    for net, grid in nets.items():
        rows = [name for name in wanted if name in grid.rows]
        if rows and run:
            print_fn(f"{scale}, {net} net: {len(rows)} arms x {len(grid.seeds)} seeds")
            started = time.monotonic()
            run_grid(grid, folder / net, options=options, rows=rows, print_fn=print_fn)
            print_fn(f"{scale}, {net} net: {time.monotonic() - started:.0f} s")
    arms = finished(nets, folder)
    missing = [name for name in wanted if name not in arms]
    if missing:
        print_fn(f"not finished with any seed: {', '.join(missing)}")
    pictures = {}
    for number in figures:
        if set(FIGURES[number].arms) - set(FIGURES[number].more) <= set(arms):
            pictures[number] = folder / f"figure{number}.png"
            title = f"Figure {number} at scale {scale}: {FIGURES[number].title}"
            draw(FIGURES[number], arms, pictures[number], title)
    command = f"tfshed reproduce --figure={{figure}} --scale={scale} --workdir={folder}"
    found = check_claims(arms, chosen, figures, command)
    for each in found:
        print_fn("\n".join(each.lines()))
    print_fn(counted(found))
    for number, path in pictures.items():
        print_fn(f"figure {number}: {path}")
    return Reproduction(chosen, next(iter(nets.values())).seeds, arms, found, pictures)


def _grid(grids: Path, scale: str, net: str, seeds: Sequence[int] | None) -> Grid:
    grid = load_grid(f"{grids / f'cascade_{scale}.py'}:{net}")
    return dataclasses.replace(grid, seeds=tuple(seeds)) if seeds else grid


def finished(nets: Mapping[str, Grid], folder: Path) -> dict[str, Arm]:
    """The arms that are finished with at least one seed."""
    found = {}
    for net, grid in nets.items():
        for cell in grid.cells():
            runs = [Record(folder / net / f"seed{s}" / cell.folder, s) for s in grid.seeds]
            done = [record for record in runs if record.finished]
            if done:
                found[cell.row] = Arm(cell.row, done)
    return found


def counted(found: Sequence[Found]) -> str:
    """How many of the paper's claims hold, do not hold and are not decided.

    >>> print(counted([]))
    0 of the paper's claims: none
    """
    own = [each for each in found if each.claim.number <= 24]
    verdicts = [each.verdict for each in own]
    counts = {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))}
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return f"{len(own)} of the paper's claims: {told or 'none'}"


def plan(scale: Scale, wanted: Sequence[str], seeds: int) -> str:
    """What a scale that is not run here consists of, and what it costs, as text.

    >>> print(plan(SCALES["cifar10"], ["a", "b"], 3).splitlines()[0])
    cifar10: CIFAR-10 and ResNet-20 ...
    """
    dense = [name for name in wanted if name in dense_arms(scale.rates, scale.decay)]
    other = [name for name in wanted if name in depthwise_arms()]
    steps = 35 * scale.steps
    slices = math.ceil(len(wanted) * seeds)
    return "\n".join(
        [
            f"{scale.name}: {scale.data}.",
            f"{len(dense)} arms of the dense net and {len(other)} of the depthwise one, {seeds} "
            f"seeds: {slices} runs of 35 epochs ({steps:,} steps) after the nets are trained.",
            f"Cost: {scale.cost}.",
            "Every run resumes from its last checkpoint to the bit, so the command can be stopped "
            "at any time and given again, for example after every 10 minutes.",
            *(f"  {name}" for name in wanted),
        ]
    )
