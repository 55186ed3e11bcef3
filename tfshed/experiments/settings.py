"""All settings of a run: the recipe, the phase, the seed, and where it is written."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from tfshed.experiments.recipe import PHASES
from tfshed.experiments.recipe_check import check

if TYPE_CHECKING:
    from ml_collections import ConfigDict

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of a run.

    Args:
        phase: The part of the recipe to run, such as "train" or "prune".
        config: A recipe (see `tfshed.experiments.recipe`), before scaling.
        workdir: The folder of the run. An interrupted run in it is resumed.
        seed: The seed of initial weights, order of data, augmentation and random pruning, an int
            >= 0. Default 0.
        precision: The dtype policy of Keras. Default "float32".
        data_dir: The folder of the data sets, as for `tfshed.datasets.load`.
        deterministic: Whether to use operations whose results are bit-identical in every run, which
            are slower. Default False.
        resume: Whether to resume a run that exists in `workdir`. Default True; if False, it is an
            error.
        accept_missing_rows: Whether to resume a run whose `keep_ratio.csv` has lost rows since the
            checkpoint. Default False: it is an error.

    Raises:
        ValueError: A setting is wrong. The error names it.
    """

    phase: str
    config: ConfigDict
    workdir: Path
    seed: int = 0
    precision: str = "float32"
    data_dir: str | None = None
    deterministic: bool = False
    resume: bool = True
    accept_missing_rows: bool = False

    def __post_init__(self) -> None:
        if self.phase not in PHASES:
            raise ValueError(f"phase: expected one of {PHASES}, received {self.phase!r}")
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision: expected one of {', '.join(PRECISIONS)}, received {self.precision!r}"
            )
        if self.seed < 0:
            raise ValueError(f"seed: expected a whole number >= 0, received {self.seed}")
        if not str(self.workdir):
            raise ValueError("workdir: expected a folder, received an empty name")
        check(self.config)
        if self.phase != "train" and not self.config.initial_weights:
            raise ValueError(
                "config.initial_weights: pruning starts from trained weights; expected a run "
                'directory, a weights file or "imagenet", received "". Train first, or give '
                '"fresh" to prune fresh weights on purpose.'
            )

    @property
    def recorded(self) -> dict[str, Any]:
        """The settings that results depend on. A run can only be resumed with the same ones."""
        return {
            "phase": self.phase,
            "backend": keras.backend.backend(),
            "seed": self.seed,
            "precision": self.precision,
            "deterministic": self.deterministic,
            "config": self.config.to_dict(),
        }
