"""`SoftFilterPruning`: filters are zeroed after every epoch and may grow again in the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from tfshed.experiments.structured.filters import filters_of
from tfshed.experiments.structured.prune_filters import prune_filters


class SoftFilterPruning(keras.callbacks.Callback):
    """Sets the filters of lowest L2 norm to zero after every epoch; they are trained on.

    After the last epoch, gamma and beta of the normalisation behind these filters become zero, too,
    so that `tfshed.export.shrink` can take them out.

    Args:
        ratios: For names of `Conv2D` layers the fraction of filters that go, or one number for all
            of them.
        every: After every so many epochs, and after the last one. Default 1.

    Raises:
        ValueError: At the start of `fit`, a layer that is not there or a ratio outside [0, 1).

    >>> import keras, numpy as np
    >>> from tfshed.experiments.structured import SoftFilterPruning
    >>> layers = [keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D()]
    >>> net = keras.Sequential([keras.Input((4, 4, 1)), *layers])
    >>> net.compile("sgd", "mse")
    >>> x, y = np.ones((8, 4, 4, 1)), np.ones((8, 4))
    >>> _ = net.fit(x, y, verbose=0, callbacks=[SoftFilterPruning(0.5)])
    >>> int((net.get_weights()[0] != 0).any(axis=(0, 1, 2)).sum())
    2

    Source: He et al. 2018, "Soft Filter Pruning for Accelerating Deep Convolutional Neural
    Networks" (arXiv 1808.06866), algorithm 1.
    """

    def __init__(self, ratios: Mapping[str, float] | float, every: int = 1) -> None:
        super().__init__()
        self._ratios, self._every = ratios, every

    def on_train_begin(self, logs: Any = None) -> None:
        filters = filters_of(self.model)
        if not isinstance(self._ratios, Mapping):
            self._ratios = dict.fromkeys(filters, self._ratios)
        # Nothing is pruned: the names and ratios are looked at.
        prune_filters(self.model, dict.fromkeys(self._ratios, 0.0))
        wrong = {n: r for n, r in self._ratios.items() if not 0 <= r < 1}
        if wrong:
            raise ValueError(f"ratios: expected numbers in [0, 1), received {wrong}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        last = epoch + 1 == self.params.get("epochs")
        if last or (epoch + 1) % self._every == 0:
            assert isinstance(self._ratios, Mapping)
            prune_filters(self.model, self._ratios, norm="l2", normalization=last)
