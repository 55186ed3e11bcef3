"""One line of progress for a whole `fit`, with the time that is left."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

import keras

# Seconds between two redraws on a terminal, and between two lines elsewhere.
REDRAW, LINE = 0.2, 30.0
BAR = 20


class Progress(keras.callbacks.Callback):
    """Shows the progress of a `fit` over all its epochs; use it with `verbose=0`.

    On a terminal one line is drawn over and over. Elsewhere (a pipe, a log file) a line is printed
    every 30 seconds and one at the end.

    Args:
        label: The text that the line begins with.
        metrics: The names of the metrics to show, from the logs at the end of an epoch; none by
            default.
        stream: The text stream to write to. None (default) means `sys.stdout`.
        total: The number of steps of the whole run, if the run consists of several `fit`s. None
            (default) means the steps of the `fit`.
        start: With `total`, the number of steps that were done before; 0 by default.

    >>> import keras, numpy as np
    >>> from tfshed.observe.progress import Progress
    >>> net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> net.compile("sgd", "mse")
    >>> x, y = np.ones((8, 2), "float32"), np.ones((8, 1), "float32")
    >>> bar = Progress("training")
    >>> _ = net.fit(x, y, epochs=3, batch_size=4, verbose=0, callbacks=[bar])
    training  6/6 steps  ... s
    """

    # It only counts, so Keras need not wait for the device before each call.
    async_safe = True

    def __init__(
        self,
        label: str,
        metrics: tuple[str, ...] = (),
        stream: TextIO | None = None,
        *,
        total: int | None = None,
        start: int = 0,
    ):
        super().__init__()
        self._label, self._names, self._stream = label, metrics, stream
        self._total, self._skipped = total, start
        self._done = 0

    def on_train_begin(self, logs: Any = None) -> None:
        if self._total is not None and self._done:
            return  # the next `fit` of the same run
        self._start = self._drawn = time.monotonic()
        self._done = 0
        self._width = 0
        self._last: dict[str, float] = {}
        self._out = self._stream if self._stream is not None else sys.stdout
        self._terminal = bool(getattr(self._out, "isatty", lambda: False)())
        if self._terminal:
            self._draw(self._start)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if not self._done and self._total is None:
            # With `initial_epoch`, earlier steps count as done, but not for the speed.
            self._skipped = epoch * (self.params.get("steps") or 0)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._done += 1
        now = time.monotonic()
        if self._done == 1:
            self._first = now
        if now - self._drawn >= (REDRAW if self._terminal else LINE):
            self._drawn = now
            self._draw(now)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._last = {k: float(logs[k]) for k in self._names if logs and k in logs}

    def on_train_end(self, logs: Any = None) -> None:
        if self._total is None or self._skipped + self._done >= self._total:
            self._draw(time.monotonic(), end=True)

    def _draw(self, now: float, end: bool = False) -> None:
        steps = self.params.get("steps")
        total = self._total or (steps * self.params["epochs"] if steps else None)
        done, spent = self._skipped + self._done, now - self._start
        parts = [self._label]
        if total and self._terminal and not end:
            full = min(BAR, BAR * done // total)
            parts.append("[" + "#" * full + "." * (BAR - full) + "]")
        parts.append(f"{done}/{total} steps" if total else f"{done} steps")
        parts.append(duration(spent))
        if total and self._done > 1 and not end:
            # The first step compiles: it says nothing about the others.
            left = (now - self._first) / (self._done - 1) * max(0, total - done)
            parts.append(f"{duration(left)} left")
        parts += [f"{name} {value:.3f}" for name, value in self._last.items()]
        text = "  ".join(parts)
        if self._terminal:
            # Spaces wipe what an earlier, longer line left; no escape codes, so any terminal works.
            self._out.write("\r" + text.ljust(self._width) + ("\n" if end else ""))
            self._width = len(text)
        else:
            self._out.write(text + "\n")
        self._out.flush()


def duration(seconds: float) -> str:
    """A number of seconds as a text that is easy to read.

    >>> duration(7.4), duration(75)
    ('7 s', '1 min 15 s')
    """
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"
