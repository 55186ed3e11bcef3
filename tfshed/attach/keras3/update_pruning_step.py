"""`UpdatePruningStep`: the callback that lets a model prune in `fit`, and checks that it does."""

from __future__ import annotations

import warnings
from typing import Any

import keras

from tfshed.attach import notices
from tfshed.attach.agreement import disagreement
from tfshed.attach.keras3 import private
from tfshed.attach.keras3.declarations import declarations, declares_some
from tfshed.attach.keras3.keep_zeros import let_go_of_zeros
from tfshed.attach.keras3.optimizer import PruningOptimizer
from tfshed.attach.keras3.wrapping import ensure_pruning, pruning_optimizers
from tfshed.attach.ownership import chain, held_optimizers, owner_of
from tfshed.attach.starting import check_start
from tfshed.attach.types import Logs
from tfshed.core.backend import to_numpy


class UpdatePruningStep(keras.callbacks.Callback):
    """Lets a model from `tfshed.prune_low_magnitude` prune while `fit` trains it.

    Before the training step is compiled, the callback puts a `tfshed.PruningOptimizer` around the
    model's optimizer; the pruning itself happens inside of the step. Its place among the callbacks
    does not matter. If the model's own `train_step` uses several optimizers, each of them is
    wrapped, and each prunes the kernels that it steps.

    At the end of an epoch the callback checks that each kernel was stepped by the optimizer that
    prunes it, and that pruned weights are exactly zero. It warns once when the keep-ratio has
    fallen below 0.95 of the final target, when a kernel is empty, and when training ends before
    the schedule does.

    In a custom training loop, call `set_model(model)` and `on_train_begin()` before it and
    `on_epoch_end()` after each epoch. The loop may go on to step with the optimizer that was given
    to the model: its steps go through the one that prunes.

    Args:
        start: What happens if the same kernels were pruned before in this process. "auto" (default)
            continues that run, with its masks, threshold and counts, if the weights are exactly
            zero where its masks removed them. If they are not, somebody set or restored weights
            since; then pruning begins anew: masks are made from the weights, the threshold is
            the first one. "continue" continues in any case and writes zeros where the masks
            removed weights. "again" begins anew in any case. In all three cases zeros that pruning
            made stay zeros. Shadow masks (`observe=True`) leave no zeros, so "auto" always
            continues them, and "continue" writes none. The log of "tfshed" tells what was done. The
            schedule counts the steps of the optimizer; compile the model again to begin with its
            first step.

    Raises:
        ValueError: at the start of `fit`, if the model is not compiled, if nothing that it declares
            can be pruned, or if it declares nothing and holds zeros that training would fill.
        RuntimeError: at the end of an epoch, if a kernel was stepped by another optimizer than the
            one that prunes it.

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

    def __init__(self, start: str = "auto") -> None:
        super().__init__()
        self._start = check_start(start)
        self._progress: dict[int, tuple[float, ...]] = {}

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        with let_go_of_zeros(model):
            if not held_optimizers(model) or pruning_optimizers(model) or declares_some(model):
                ensure_pruning(model, self._start)
        self._progress = self._progress_of(model)

    def on_train_begin(self, logs: Logs = None) -> None:
        model = self.model
        self._progress = self._progress_of(model)
        given = self.params or {}
        epochs, steps = given.get("epochs"), given.get("steps")
        if not epochs or not steps:
            return
        for optimizer in pruning_optimizers(model):
            each = getattr(optimizer.inner_optimizer, "gradient_accumulation_steps", None) or 1
            last = int(to_numpy(optimizer.iterations)) + epochs * steps // each
            for group in optimizer.groups:
                text = notices.ends_too_early(group, last)
                if text is not None:
                    optimizer.warn_once("unfinished", text, notices.UnfinishedPruning)

    def on_epoch_end(self, epoch: int = -1, logs: Logs = None, batch: int | None = None) -> None:
        # `batch`: tfmot's guide for training loops of one's own calls it so.
        model = self.model
        self._check_steps(model)
        self._check_zeros(model)
        for optimizer in pruning_optimizers(model):
            for group in optimizer.groups:
                for what, text in notices.about_masks(group):
                    optimizer.warn_once(what, text)

    def on_train_end(self, logs: Logs = None) -> None:
        model = self.model
        found = disagreement(_declared(model))
        if found is not None:
            warnings.warn(
                f"at the end of training {found}. Another callback has set the weights, such as "
                "EarlyStopping(restore_best_weights=True): masks and weights are of different "
                "steps. Training on starts with masks that are made from the weights.",
                stacklevel=2,
            )
        for optimizer in pruning_optimizers(model):
            for group in optimizer.groups:
                text = notices.about_schedule(group)
                if text is not None:
                    optimizer.warn_once("unfinished", text, notices.UnfinishedPruning)

    def _progress_of(self, model: Any) -> dict[int, tuple[float, ...]]:
        """What changes with every step that is tried, for each optimizer that prunes."""
        found = {}
        for _, _, outer in held_optimizers(model):
            each = chain(outer)
            for optimizer in each:
                if isinstance(optimizer, PruningOptimizer):
                    numbers = [float(private.steps_begun(each[-1]))]
                    # A step that loss scaling left out was a step of this optimizer all the same.
                    if hasattr(outer, "dynamic_scale"):
                        numbers.append(float(to_numpy(outer.dynamic_scale)))
                    found[id(optimizer)] = tuple(numbers)
        return found

    def _check_steps(self, model: Any) -> None:
        """Raises RuntimeError unless the owner of every declared kernel has stepped."""
        # Since training began: some optimizers pause for an epoch.
        now = self._progress_of(model)
        stepped = {key for key, numbers in now.items() if numbers != self._progress.get(key)}
        idle = []
        for kernel in _declared(model):
            owner = owner_of(kernel.variable)
            if owner is None or not owner.in_use or id(owner.optimizer) not in stepped:
                idle.append(kernel.path)
        if idle:
            raise RuntimeError(
                f"{model.name} was trained, but the optimizer that is to prune {idle[:3]} took no "
                "step: expected training to step with model.optimizer or with an optimizer in an "
                "attribute of the model. Put the one that steps there before training, or make it "
                "a tfshed.PruningOptimizer(optimizer, model)."
            )

    def _check_zeros(self, model: Any) -> None:
        found = disagreement(_declared(model))
        if found is not None:
            raise RuntimeError(
                f"{model.name}: {found}. Another optimizer than the one that prunes has stepped "
                "them, or a callback has set weights within the epoch: expected all steps to be "
                "taken by model.optimizer"
            )


def _declared(model: Any) -> list[Any]:
    """The kernels that a model declares and that are trained."""
    return [kernel for _, kernels in declarations(model) for kernel in kernels]
