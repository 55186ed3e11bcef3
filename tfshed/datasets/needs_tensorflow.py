"""Data that only TensorFlow can read."""

from __future__ import annotations


def check_tensorflow(name: str) -> None:
    """Raises unless TensorFlow can be imported.

    Args:
        name: of the data, as the user wrote it.

    Raises:
        ValueError: says which data need no TensorFlow.
    """
    try:
        import tensorflow  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"{name}: expected TensorFlow, which reads these files, and it cannot be imported "
            f"({error}). Install tensorflow, or save the images as arrays: npz:PATH and digits "
            "need no TensorFlow."
        ) from error
