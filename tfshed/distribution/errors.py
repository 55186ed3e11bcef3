"""Turns TensorFlow's errors about a lost worker into one that says what to do."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any


class WorkerLostError(RuntimeError):
    """A worker of a multi-worker run was lost. The run must be restarted on all workers."""


@contextlib.contextmanager
def worker_lost(strategy: Any) -> Iterator[None]:
    """Within the block, errors that a lost worker causes become a `WorkerLostError`."""
    import tensorflow as tf

    # A killed worker raises UnavailableError, at once by its closed connection or later by missing
    # heartbeats. The others were seen, or are documented, for workers that restart or answer late.
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
            "its own output for the reason, then run the same command again on every worker to "
            f"resume from the last checkpoint. (TensorFlow: {(said or lines)[0]})"
        ) from error
