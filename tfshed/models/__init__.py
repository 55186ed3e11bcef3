"""The networks that papers on pruning use, by name, for Keras 3 and every backend."""

from __future__ import annotations

from tfshed.models.factory import build
from tfshed.models.registry import names, register
from tfshed.models.resnet import resnet, resnet20, resnet56, resnet110

__all__ = ["build", "names", "register", "resnet", "resnet20", "resnet56", "resnet110"]
