"""Numbers over steps in TensorBoard's event files, on every backend."""

from __future__ import annotations

from typing import Any

import keras

from tfshed.core.extras import need


class ScalarWriter:
    """Writes scalars to event files in a folder, which is made at the first write.

    `tf.summary` with TensorFlow; with JAX and PyTorch TensorBoard's own writer.

    Args:
        directory: folder of the event files.
    """

    def __init__(self, directory: str):
        self.directory = directory
        self._writer: Any = None

    def write(self, values: dict[str, float], step: int) -> None:
        """Writes each value under its tag, and flushes."""
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            if self._writer is None:
                self._writer = tf.summary.create_file_writer(self.directory)
            # A user's `tf.summary.record_if` is about their own summaries.
            with self._writer.as_default(step), tf.summary.record_if(True):
                for tag, value in values.items():
                    tf.summary.scalar(tag, value)
        else:
            if self._writer is None:
                summary = need("tensorboard.summary", "Writing files for TensorBoard")
                self._writer = summary.Writer(self.directory)
            for tag, value in values.items():
                self._writer.add_scalar(tag, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Closes the event file; a later write begins another."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
