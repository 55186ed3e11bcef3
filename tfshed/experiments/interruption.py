"""Lets SIGTERM and Ctrl-C stop a run after a checkpoint, from which it can be resumed."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


class InterruptedRunError(RuntimeError):
    """A run was stopped by a signal. Its state is in the last checkpoint.

    Attributes:
        step: The step of the checkpoint.
        signal: The number of the signal.
    """

    def __init__(self, step: int, number: int):
        super().__init__(
            f"stopped by {signal.Signals(number).name} after step {step}, with a checkpoint. The "
            "same command resumes from there."
        )
        self.step, self.signal = step, int(number)


class StopRequest:
    """Whether a signal has asked this process to stop.

    Attributes:
        signal: The number of the signal; None if there was none.
    """

    def __init__(self) -> None:
        self.signal: int | None = None


@contextlib.contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Within the block, SIGTERM and SIGINT (Ctrl-C) only set `StopRequest.signal`.

    A second Ctrl-C interrupts at once. Python handles signals in the main thread only; in another
    thread, the block changes nothing.
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
            # The handler is None if it was not set from Python; it cannot be restored then.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
