"""Which optimizers need masked gradients: those whose update of one weight depends on others."""

from __future__ import annotations

from typing import Any

# Adafactor and Lamb divide by norms over a whole kernel, Muon makes its update orthogonal.
MIXING_OPTIMIZERS = ("Adafactor", "Lamb", "Muon")


def mixes_elements(optimizer: Any) -> bool:
    """Whether an optimizer's update of one weight depends on the gradients of other weights.

    Such an optimizer must see zero gradients for pruned weights, since these would otherwise change
    the updates of the weights that are kept. For all other optimizers the gradients of pruned
    weights change nothing, and masking them would only cost time.

    Args:
        optimizer: an optimizer of Keras 3 or tf_keras.

    Returns:
        True for clipping by norm (`clipnorm`, `global_clipnorm`), for Adafactor, Lamb, Muon and
        their subclasses, and for a `MultiOptimizer` that holds one of these.

    >>> import keras
    >>> mixes_elements(keras.optimizers.Adam()), mixes_elements(keras.optimizers.Adam(clipnorm=1.0))
    (False, True)
    """
    if getattr(optimizer, "clipnorm", None) or getattr(optimizer, "global_clipnorm", None):
        return True
    if any(kind.__name__ in MIXING_OPTIMIZERS for kind in type(optimizer).__mro__):
        return True
    # Those inside of a MultiOptimizer.
    return any(mixes_elements(each) for each in getattr(optimizer, "optimizers", ()))
