"""tf_keras has a session of its own, and needs TensorFlow under Keras 3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keras
import pytest

TENSORFLOW = keras.backend.backend() == "tensorflow"
if not TENSORFLOW:
    here = Path(__file__).parent
    collect_ignore = [p.name for p in here.glob("*.py") if p.name != "test_keras_3_names.py"]


@pytest.fixture(autouse=True)
def fresh_tf_keras(fresh_session: None) -> Iterator[None]:
    if not TENSORFLOW:
        yield
        return
    from tfshed.attach.tf_keras.real import tf_keras

    tf_keras.utils.set_random_seed(0)
    yield
    tf_keras.mixed_precision.set_global_policy("float32")
    tf_keras.backend.clear_session()
