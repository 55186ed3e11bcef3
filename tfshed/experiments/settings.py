"""What a run is made of."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras

from tfshed.experiments.recipe import PHASES
from tfshed.experiments.recipe_check import check

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a run is made of.

    Args:
        phase: "train" or "prune", the part of the recipe to run.
        config: a recipe (see `tfshed.experiments.recipe`), not yet scaled.
        workdir: the run's folder; a run that was broken off goes on with it.
        seed: int >= 0, of initial weights, order of data, augmentation and random pruning.
        precision: dtype policy of Keras.
        data_dir: folder of the data sets, as `tfshed.datasets.load` takes it.
        deterministic: ask TensorFlow for operations whose results repeat to the bit; slower.
        resume: whether to go on with a run that is there. False: that is an error.
        accept_missing_rows: whether to go on with a run whose `keep_ratio.csv` lacks rows that it
            had at the checkpoint. Default False: that is an error.

    Raises:
        ValueError: naming the field, what was expected and what came.
    """

    phase: str
    config: Any
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
        if self.phase == "prune" and not self.config.initial_weights:
            raise ValueError(
                "config.initial_weights: pruning starts from trained weights; expected a run "
                'directory, a weights file or "imagenet", received "". Train first, or give '
                '"fresh" to prune fresh weights on purpose.'
            )

    @property
    def recorded(self) -> dict[str, Any]:
        """What results depend on; a folder made with anything else is not gone on with."""
        return {
            "phase": self.phase,
            "backend": keras.backend.backend(),
            "seed": self.seed,
            "precision": self.precision,
            "deterministic": self.deterministic,
            "config": self.config.to_dict(),
        }
