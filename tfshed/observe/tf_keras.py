"""`KeepRatio` for tf_keras models."""

from __future__ import annotations

from typing import Any

from tfshed.attach.tf_keras.hook import Hook, hooks_of
from tfshed.attach.tf_keras.private import take_logs_as_they_are
from tfshed.attach.tf_keras.real import tf_keras
from tfshed.core.backend import to_numpy
from tfshed.observe import keep_ratio
from tfshed.observe.clock import Clock
from tfshed.observe.probe import PruningProbe


@take_logs_as_they_are
class KeepRatio(keep_ratio.KeepRatio, tf_keras.callbacks.Callback):
    """`tfshed.KeepRatio` for `fit` of a tf_keras model: same arguments, rows, logs and files.

    Only models that are pruned are followed: a control run without pruning needs Keras 3.

    Raises:
        ValueError: as `tfshed.KeepRatio`; or in `fit`, if no optimizer prunes the model.

    >>> from tfshed import tfmot
    >>> import numpy as np, tf_keras, tfshed
    >>> net = tf_keras.Sequential([tf_keras.layers.Dense(4, input_shape=(8,))])
    >>> model = tfmot.prune_low_magnitude(net, tfshed.OneShot(0.75, step=2))
    >>> model.compile(tf_keras.optimizers.SGD(1e-4), "mse")
    >>> x, y, keep = np.ones((12, 8), "float32"), np.ones((12, 4), "float32"), tfmot.KeepRatio()
    >>> callbacks = [tfmot.UpdatePruningStep(), keep]
    >>> _ = model.fit(x, y, batch_size=4, verbose=0, callbacks=callbacks)
    >>> [(row["step"], row["event"], row["target"], row["scheduled"]) for row in keep.history]
    [(2, 'update', 0.25, 24), (3, 'epoch', 0.25, 24)]
    """

    def _attach(self) -> bool:
        if self._probe is not None:
            return True
        hooks = hooks_of(self.model)
        if not hooks:
            raise ValueError(
                f"KeepRatio: expected an optimizer that prunes, received {self.model.name} without "
                "one: add tfshed.tfmot.UpdatePruningStep() to the callbacks"
            )
        if not all(wrapper.settled for hook in hooks for wrapper in hook.wrappers):
            return False  # built in the first step only
        groups = [group for hook in hooks for group in hook.groups]
        if not groups:
            raise ValueError(
                f"KeepRatio: expected kernels that are pruned, received {self.model.name}, whose "
                "wrapped layers are all frozen"
            )
        self._probe, self._innermost = PruningProbe(groups), _Rate(hooks[0])
        self._clock = Clock(self._probe.due)
        return True

    def _sync_model(self) -> Any:
        return _Model(self.model)

    def _applied(self) -> int:
        return int(to_numpy(self._probe.groups[0].step))


class _Rate:
    """Hands out the learning rate of an optimizer, as `KeepRatio` reads it."""

    def __init__(self, hook: Hook):
        self._optimizer = hook.optimizers[0]

    @property
    def learning_rate(self) -> Any:
        rate = self._optimizer.learning_rate
        # Legacy optimizers hand out the schedule itself.
        return rate(self._optimizer.iterations) if callable(rate) else rate


class _Model:
    """A tf_keras model with the one attribute that evaluation on the side misses in it."""

    def __init__(self, model: Any):
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    @property
    def metrics_variables(self) -> list[Any]:
        return [v for metric in self._model.metrics for v in metric.variables]
