"""Callbacks of the training loop: make the optimizer prune, and hold zeros."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np

from tfshed.attach.decisions import decide, pruned_kernels
from tfshed.attach.group import PruningGroup
from tfshed.attach.keras3.declarations import declares_some, declaring
from tfshed.attach.keras3.optimizer import (
    PruningOptimizer,
    pruning_optimizer,
    unwrap_optimizer,
    wrap_optimizer,
)
from tfshed.attach.ownership import expect
from tfshed.attach.rules import Selection
from tfshed.core.backend import to_numpy
from tfshed.core.config import PruningConfig
from tfshed.core.schedules import OneShot

# A step no run comes to.
NEVER = 2**31 - 1


class UpdatePruningStep(keras.callbacks.Callback):
    """Makes a model from `prune_low_magnitude` prune while it is trained by `fit`.

    It puts a `tfshed.PruningOptimizer` around the compiled optimizer before the training step is
    compiled; all the rest happens inside the step. Where it stands among the callbacks does not
    matter. At the end of an epoch it warns, once each, when a net has shed itself more than a
    twentieth below its final target, and when a kernel is empty.

    Raises:
        ValueError: at the start of `fit`, if the model was not compiled, if nothing that it
            declares can be pruned, or if it declares nothing and holds zeros that training would
            fill.

    Warns:
        UserWarning: the model declares nothing; it is trained as it is, as with tfmot.

    >>> import keras, numpy as np, tfshed
    >>> net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> model = tfshed.prune_low_magnitude(net, tfshed.ConstantSparsity(0.5, 0))
    >>> model.compile("sgd", "mse")
    >>> x, y = np.ones((4, 8), "float32"), np.ones((4, 4), "float32")
    >>> _ = model.fit(x, y, verbose=0, callbacks=[tfshed.UpdatePruningStep()])
    >>> int((model.layers[0].layer.get_weights()[0] == 0).sum())
    16
    """

    def __init__(self) -> None:
        super().__init__()
        self._warned: set[str] = set()

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        compiled = getattr(model, "optimizer", None)
        if compiled is None or pruning_optimizer(compiled) is not None or declares_some(model):
            ensure_pruning(model)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        optimizer = pruning_optimizer(self.model.optimizer)
        for group in optimizer.groups if optimizer is not None else ():
            kept = [int(to_numpy(m).sum()) for m in group.masks]
            totals = [m.shape for m in group.masks]
            rho = sum(kept) / sum(int(np.prod(s)) for s in totals)
            final = group.config.final_sparsity
            # So many of every group may be fewer than the schedule asks for.
            target = 1.0 if final is None else group.config.granularity.keep_ratio(1.0 - final)
            if final is not None and rho < 0.95 * target and group.sheds:
                self._warn(
                    "below",
                    f"the net has shed itself below its final target: keep-ratio {rho:.4f}, target "
                    f"{target:.4f}. A lower learning rate or momentum, or "
                    "grow_threshold=False, sheds less.",
                )
            for problem in group.problems():
                self._warn(problem, problem)
            for kernel, n in zip(group.kernels, kept):
                if n == 0:
                    self._warn(
                        kernel.path, f"nothing is left of {kernel.path}: all its weights are pruned"
                    )

    def _warn(self, what: str, text: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            warnings.warn(text, stacklevel=2)


def ensure_pruning(model: Any) -> PruningOptimizer:
    """Puts a `PruningOptimizer` into a compiled model unless one is there; returns it."""
    if getattr(model, "optimizer", None) is None:
        raise ValueError(
            f"expected a compiled model, received {model.name} without an optimizer: call "
            "model.compile(...) after prune_low_magnitude(...)"
        )
    if pruning_optimizer(model.optimizer) is None:
        if not any(True for _ in declaring(model)):
            raise ValueError(
                f"expected a model from tfshed.prune_low_magnitude(...), received {model.name}, "
                "which declares nothing to prune"
            )
        wrap_optimizer(model, model)
    found = pruning_optimizer(model.optimizer)
    assert found is not None
    if model.built:
        found.build(model.trainable_variables)
    for layer in declaring(model):
        expect(layer, model)
    # A loaded optimizer does not know its model, and another one may have claimed the kernels.
    found.put_into(model)
    found.claim()
    return found


class KeepZeros(keras.callbacks.Callback):
    """Holds the zeros of any sparse model while it is trained on, whatever made them.

    What is zero in a kernel at the start of `fit` is zero after every step. The optimizer is as it
    was when `fit` ends.

    Args:
        select: which kernels, as in `tfshed.prune_low_magnitude`; default all that have zeros.

    Raises:
        ValueError: at the start of `fit`, if the model is not compiled or no kernel has zeros.

    >>> import keras, numpy as np, tfshed
    >>> net = tfshed.sparsify(keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)]), 0.5)
    >>> net.compile("adam", "mse")
    >>> x, y = np.ones((4, 8), "float32"), np.ones((4, 4), "float32")
    >>> _ = net.fit(x, y, epochs=3, verbose=0, callbacks=[tfshed.KeepZeros()])
    >>> int(np.count_nonzero(net.get_weights()[0]))
    16
    """

    def __init__(self, select: Any = None) -> None:
        super().__init__()
        self._selection = Selection(select)
        self._group: PruningGroup | None = None

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        if getattr(model, "optimizer", None) is None:
            raise ValueError(
                f"expected a compiled model, received {model.name} without an optimizer"
            )
        if pruning_optimizer(model.optimizer) is not None:
            return  # it holds them already
        # Never due: nothing is pruned, and nothing is shed.
        never = OneShot(0.0, step=NEVER)
        config = PruningConfig(never, scope="layer", threshold=0.0)
        found = pruned_kernels(decide(model, config, self._selection, explicit=True))
        kernels = [kernel for kernel in found if not to_numpy(kernel.variable).all()]
        if not kernels:
            raise ValueError(
                f"expected a model with zeros in its kernels, received {model.name} with none"
            )
        self._group = PruningGroup(config, kernels, empty_is_pruned=True)
        wrap_optimizer(model, [self._group])

    def on_train_end(self, logs: Any = None) -> None:
        if self._group is None:
            return  # the optimizer was pruning before: it goes on with that
        unwrap_optimizer(self.model)
        self._group = None
