"""What TensorFlow says when a worker is lost, in words that help."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any


class WorkerLostError(RuntimeError):
    """A worker of a multi-worker run is gone: the run has to be started again, on all of them."""


@contextlib.contextmanager
def worker_lost(strategy: Any) -> Iterator[None]:
    """Turns the errors of collectives without a peer into `WorkerLostError`."""
    import tensorflow as tf

    # A killed peer: Unavailable, from its closed connection at once or from its heartbeats. The
    # others were seen, or are documented, for peers that come back or answer too late.
    kinds = (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.DeadlineExceededError,
        tf.errors.FailedPreconditionError,
        tf.errors.CancelledError,
        tf.errors.InternalError,
    )
    try:
        yield
    except kinds as error:
        if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            raise
        lines = [line.strip() for line in error.message.splitlines()]
        said = [s for s in lines if "aborted by" in s or "heartbeat" in s or "unhealthy" in s]
        if not said and not isinstance(error, tf.errors.UnavailableError):
            raise
        resolver = strategy.cluster_resolver
        cluster = resolver.cluster_spec().as_dict()
        count = sum(len(cluster.get(job, ())) for job in ("chief", "worker"))
        named = set(re.findall(r"/job:(\w+)(?:/replica:\d+)?/task:(\d+)", error.message))
        lost = sorted(" ".join(n) for n in named - {(resolver.task_type, str(resolver.task_id))})
        raise WorkerLostError(
            f"expected {count} workers, lost contact to {', '.join(lost) or 'one of them'}. See "
            "its own output for the reason; then start the same command again on every worker, to "
            f"go on from the last checkpoint. (TensorFlow: {(said or lines)[0]})"
        ) from error
