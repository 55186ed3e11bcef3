"""Pruning schedules: when to prune, and how sparse the net is to be at that step.

A schedule is called as tfmot's are, `should_prune, sparsity = schedule(step)`, and has
`keep_ratio(step)`, which is 1 - sparsity. Three conventions hold for all of them:

* `step` counts the optimizer updates done, the current one included; 0 is before training.
* An update is due at `begin_step + k * frequency` up to `end_step`, and at `end_step` itself, so
  that the last one lands on the final sparsity whatever the frequency. Before `begin_step` nothing
  is due and the sparsity is the initial one; after `end_step` nothing is due and it stays.
* `step` may be a Python or NumPy number (gives a Python bool and float), a NumPy array, or a
  TensorFlow, JAX or PyTorch tensor, also while a step is compiled (gives bool and float32 tensors
  of the same shape), whichever backend Keras runs on.
"""

from tfshed.core.schedules.base import PruningSchedule
from tfshed.core.schedules.exponential import CyclicExponentialDecay, ExponentialDecay
from tfshed.core.schedules.simple import (
    ConstantSparsity,
    Iterative,
    LinearDecay,
    OneShot,
    PolynomialDecay,
)

__all__ = [
    "ConstantSparsity",
    "CyclicExponentialDecay",
    "ExponentialDecay",
    "Iterative",
    "LinearDecay",
    "OneShot",
    "PolynomialDecay",
    "PruningSchedule",
]
