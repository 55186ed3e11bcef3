"""Networks that the papers prune, written for Keras 3 and every backend."""

from __future__ import annotations

from tfshed.models.resnet import resnet, resnet20, resnet56, resnet110

__all__ = ["resnet", "resnet20", "resnet56", "resnet110"]
