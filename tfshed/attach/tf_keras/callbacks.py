"""`UpdatePruningStep` for tf_keras."""

from __future__ import annotations

from tfshed.attach import notices
from tfshed.attach.starting import check_start
from tfshed.attach.tf_keras.bind import bind
from tfshed.attach.tf_keras.hook import Hook, hooks_of
from tfshed.attach.tf_keras.private import batches_trained
from tfshed.attach.tf_keras.real import sparsity, tf_keras
from tfshed.attach.tf_keras.wrapped import wrappers_of
from tfshed.attach.types import Keras2Layer, Logs

REMEDY = (
    "Name the optimizer that steps before training: tfshed.tfmot.bind(model, optimizer), for each "
    "part of the model with its own."
)
TRAIN_WITH_IT = (
    "Train with the optimizer that prunes, or name the one that steps before training: "
    "tfshed.tfmot.bind(model, optimizer)."
)


class UpdatePruningStep(sparsity.UpdatePruningStep):
    """tfmot's callback for tf_keras models, which also lets the optimizer prune (`bind`).

    Its place among the callbacks does not matter. At the end of an epoch it warns once when the
    keep-ratio has fallen below 0.95 of the final target, and when a kernel is empty; at the end of
    training it warns if the pruning schedule has not come to its end. In a custom training loop,
    call `set_model(model)` and `on_train_begin()` before it, `on_epoch_end(0)` after each epoch and
    `on_train_end()` in the end.

    Args:
        start: What happens if the same kernels were pruned before. "auto" (default) continues that
            run, with its masks, threshold, counts and step, if the weights are exactly zero where
            its masks removed them. If they are not, somebody set or restored weights since; then
            pruning begins anew: masks are made from the weights, the threshold is the first one,
            and the step is the optimizer's. "continue" continues in any case and writes zeros where
            the masks removed weights. "again" begins anew in any case. In all three cases zeros
            that pruning made stay zeros. The log of "tfshed" tells what was done.

    Raises:
        TypeError, ValueError: as `tfshed.tfmot.bind`.
        RuntimeError: at the end of an epoch in which the model was trained, but not by the
            optimizer that prunes it, or after which pruned weights are not zero.
    """

    def __init__(self, start: str = "auto") -> None:
        super().__init__()
        self._start, self._bound = check_start(start), False
        self._warn = notices.WarnOnce()
        # What was true when the last epoch ended: steps and loss scales by hook, batches trained.
        self._before: dict[int, tuple[int, list[float]]] = {}
        self._batches = 0

    def set_model(self, model: Keras2Layer) -> None:
        super().set_model(model)
        # In a custom loop the optimizer may come later.
        if not isinstance(model, tf_keras.Model) or model.optimizer is not None:
            bind(model, start=self._start)
            self._bound = True

    def on_train_begin(self, logs: Logs = None) -> None:
        # All that tfmot does here but counting from 0, which `bind` has seen to.
        bind(self.model, start=None if self._bound else self._start)
        self._bound = False
        self.prunable_layers = wrappers_of(self.model)
        self._remember()

    def on_epoch_end(self, batch: int, logs: Logs = None) -> None:
        # Before tfmot writes zeros under the masks, which would hide that they were not there.
        for hook in hooks_of(self.model):
            self._check(hook)
        self._remember()
        super().on_epoch_end(batch, logs)
        for hook in hooks_of(self.model):
            for group in hook.groups:
                for what, text in notices.about_masks(group):
                    self._warn(what, text)

    def on_train_end(self, logs: Logs = None) -> None:
        super().on_train_end(logs)
        for hook in hooks_of(self.model):
            for group in hook.groups:
                text = notices.about_schedule(group)
                if text is not None:
                    self._warn("unfinished", text, notices.UnfinishedPruning)

    def _remember(self) -> None:
        """Notes how far the optimizers and the model are, to see whether both go on."""
        hooks = hooks_of(self.model)
        self._before = {id(hook): (hook.step, hook.loss_scales) for hook in hooks}
        self._batches = batches_trained(self.model)

    def _check(self, hook: Hook) -> None:
        trained = batches_trained(self.model) > self._batches
        trained = trained or any(wrapper.was_trained for wrapper in hook.wrappers)
        step, scales = self._before.get(id(hook), (None, []))
        stood_still = bool(hook.groups) and step == hook.step
        # A step that loss scaling skips makes the scale smaller, down to 1, and trains nothing.
        skipped = any(now == 1.0 or now != then for now, then in zip(hook.loss_scales, scales))
        if trained and stood_still and not skipped:
            raise RuntimeError(notices.not_stepped(self.model.name, REMEDY))
        wrong = [path for w in hook.wrappers for path in w.not_zero_under_masks()]
        if wrong:
            raise RuntimeError(notices.not_zero_under_masks(wrong, TRAIN_WITH_IT))
