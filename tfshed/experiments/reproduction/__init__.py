"""The figures and claims of the cascade paper at several scales, from runs of its arms.

The paper is Azarian & Porikli 2021, "Cascade Weight Shedding in Deep Neural Networks" (arXiv
2103.10629).
"""

from __future__ import annotations

from tfshed.experiments.reproduction.claims import CLAIMS
from tfshed.experiments.reproduction.figures import FIGURES
from tfshed.experiments.reproduction.reproduce import reproduce
from tfshed.experiments.reproduction.scales import SCALES

__all__ = ["CLAIMS", "FIGURES", "SCALES", "reproduce"]
