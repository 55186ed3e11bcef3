"""tfmot's own path to its names: `tfmot.sparsity.keras`."""

from tfshed.tfmot.sparsity import keras

__all__ = ["keras"]
