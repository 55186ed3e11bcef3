"""SIGTERM and Ctrl-C: the run is asked to stop, and stops where it can go on from."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


class InterruptedRunError(RuntimeError):
    """A run that was asked to stop, and has: what it came to is in its last checkpoint.

    Attributes:
        step: of the checkpoint. signal: the number of the signal.
    """

    def __init__(self, step: int, number: int):
        super().__init__(
            f"stopped by {signal.Signals(number).name} after step {step}, whose checkpoint is "
            "written. The same command goes on from there."
        )
        self.step, self.signal = step, int(number)


class StopRequest:
    """Whether a signal has asked this process to stop.

    Attributes:
        signal: its number; None as long as there was none.
    """

    def __init__(self) -> None:
        self.signal: int | None = None


@contextlib.contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Takes SIGTERM and SIGINT as a request, as long as the context lasts.

    The second Ctrl-C interrupts at once. Signals can be taken by the main thread alone: in another
    one they do what they did before.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def ask(number: int, frame: Any) -> None:
        if request.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        request.signal = number

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            # None: a handler that was not set from Python, which cannot be set again from here.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
