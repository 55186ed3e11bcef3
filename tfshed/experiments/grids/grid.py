"""What a grid is made of: one recipe, rows and columns of changes to it, and seeds."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from tfshed.experiments.controls import with_controls
from tfshed.experiments.recipe_check import check
from tfshed.experiments.retraining.rounds import rounds_of
from tfshed.experiments.retraining.strategies import STRATEGIES
from tfshed.experiments.scaling import scaled
from tfshed.experiments.settings import Settings

Changes = Mapping[str, Any]
NOT_PRUNED = "not pruned"


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run of a grid without its seed.

    Attributes:
        row, column: their names.
        phase: of the recipe.
        config: the recipe with the changes of row and column.
    """

    row: str
    column: str
    phase: str
    config: Any

    @property
    def folder(self) -> str:
        """The cell's folder within that of a seed."""
        names = (name for name in (self.row, self.column) if name)
        return "--".join(re.sub(r"[^\w.]+", "-", name) for name in names)

    @property
    def label(self) -> str:
        """What the cell is called where its progress is shown."""
        return ", ".join(name for name in (self.row, self.column) if name)


@dataclasses.dataclass(frozen=True)
class Grid:
    """Rows x columns of runs that start from one trained net for each seed.

    A row or column is a name with the fields that it changes, such as
    {"fine_tune": {"retrain.strategy": "fine_tune"}}. A column's changes come after a row's. A grid
    whose columns are {"": {}} is a list of rows.

    Two kinds of controls are columns by default: "not pruned" retrains the dense net as each row
    says, with the same budget; and where columns prune by a criterion other than chance, there is a
    column of random pruning for each sparsity among them. In a grid of the phase "prune" every
    column has one control, with shadow masks in place of pruning: "<column>, shadow".

    Args:
        config: a recipe; its phase `train` makes the nets.
        rows, columns: see above.
        seeds: of the runs.
        phase: that the cells run. Default "retrain".
        controls: whether to add the columns above. Default True.
        weights: a file or run that every cell starts from. Default "": a net is trained for each
            seed.

    Raises:
        ValueError: no rows, columns or seeds, or a recipe that cannot be.

    >>> from tfshed.experiments import recipe
    >>> rows = {name: {"retrain.strategy": name} for name in ("fine_tune", "rewind_rate")}
    >>> grid = Grid(recipe(), rows, {"magnitude 0.9": {"retrain.sparsity": 0.9}}, seeds=(0, 1))
    >>> list(grid.all_columns())
    ['not pruned', 'random 0.9', 'magnitude 0.9']
    >>> len(grid.cells()), grid.cells()[0].folder
    (6, 'fine_tune--not-pruned')
    """

    config: Any
    rows: Mapping[str, Changes]
    columns: Mapping[str, Changes]
    seeds: tuple[int, ...] = (0, 1, 2)
    phase: str = "retrain"
    controls: bool = True
    weights: str = ""

    def __post_init__(self) -> None:
        for name in ("rows", "columns", "seeds"):
            if not getattr(self, name):
                raise ValueError(f"{name}: expected at least one, received {getattr(self, name)!r}")
        folders = [cell.folder for cell in self.cells()]
        twice = {folder for folder in folders if folders.count(folder) > 1}
        if twice:
            raise ValueError(f"rows, columns: expected names that differ, received {sorted(twice)}")

    def all_columns(self) -> dict[str, Changes]:
        """The columns with the controls, controls first."""
        columns = dict(self.columns)
        if self.controls and self.phase == "prune":
            return self._with_shadows(columns)
        if not self.controls or self.phase != "retrain":
            return columns
        added: dict[str, Changes] = {NOT_PRUNED: {"retrain.sparsity": 0.0}}
        for changes in self.columns.values():
            prunes = self._changed(changes).retrain
            if not prunes.sparsity or "random" in (prunes.criterion, prunes.filters):
                continue
            name = f"random {prunes.preset or format(prunes.sparsity, 'g')}"
            field = "filters" if prunes.filters else "criterion"
            added.setdefault(name, {**changes, f"retrain.{field}": "random"})
        return {name: c for name, c in added.items() if name not in columns} | columns

    def _with_shadows(self, columns: dict[str, Changes]) -> dict[str, Changes]:
        """The columns, each followed by its control, unless it is one itself."""
        found: dict[str, Changes] = {}
        for name, changes in columns.items():
            prune = self._changed(changes).prune
            own = prune.control or prune.observe
            found |= {name: changes} if own else with_controls({name: changes})
        return found

    def cells(self) -> list[Cell]:
        """All cells, row by row."""
        pairs = itertools.product(self.rows.items(), self.all_columns().items())
        return [
            Cell(row, column, self.phase, self._changed(changes, more))
            for (row, changes), (column, more) in pairs
        ]

    def recorded(self, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """All that the results depend on, as JSON can hold it, but for the seeds.

        Args:
            options: of every run, as for `run_grid`.
        """
        found = {
            "config": self.config.to_dict(),
            "rows": {name: dict(changes) for name, changes in self.rows.items()},
            "columns": {name: dict(changes) for name, changes in self.all_columns().items()},
            "phase": self.phase,
            "backend": keras.backend.backend(),
            "options": {k: str(v) for k, v in (options or {}).items() if k != "data_dir"},
        }
        return found | ({"weights": self.weights} if self.weights else {})

    def _changed(self, *changes: Changes) -> Any:
        config = self.config.copy_and_resolve_references()
        for each in changes:
            config.update_from_flattened_dict(dict(each))
        # So that it can be checked; the real one is known for each seed.
        check(config)
        return config

    def base_settings(self, folder: Path, seed: int, options: Mapping[str, Any]) -> Settings:
        """The run that trains the net of a seed and keeps the epochs that cells go back to."""
        config = self.config.copy_and_resolve_references()
        kept = {*config.checkpoint.keep_epochs}
        for cell in self.cells():
            kept |= _epochs_needed(cell)
        config.checkpoint.keep_epochs = tuple(sorted(kept))
        return Settings("train", config, folder / f"seed{seed}" / "base", seed=seed, **options)

    def cell_settings(
        self, cell: Cell, folder: Path, seed: int, options: Mapping[str, Any]
    ) -> list[Settings]:
        """The runs of a cell with a seed, in their order; the last one has its result."""
        config = cell.config.copy_and_resolve_references()
        config.initial_weights = self.weights or str(folder / f"seed{seed}" / "base")
        workdir = folder / f"seed{seed}" / cell.folder
        return rounds_of(Settings(cell.phase, config, workdir, seed=seed, **options))


def _epochs_needed(cell: Cell) -> set[int]:
    """The epochs of training whose weights a cell goes back to, in the epochs of its recipe."""
    config, phase = cell.config, cell.config.retrain
    if cell.phase != "retrain" or config.start.weights:
        return set()
    weights = STRATEGIES.get(phase.strategy).weights
    if weights == "initial":
        return {0}
    if weights != "rewound":
        return set()
    if config.scale == 1:
        return {max(0, config.train.epochs - phase.epochs)}
    # A whole epoch that, scaled as the training is, comes to the one that is gone back to.
    small = scaled(config)
    wanted = max(0, small.train.epochs - small.retrain.epochs)
    return {round(wanted * config.train.epochs / small.train.epochs)}
