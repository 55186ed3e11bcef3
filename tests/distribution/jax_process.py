"""Runs a module with JAX on the CPU in a process of its own: for tests on several devices."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.nets import BACKEND

ONCE = pytest.mark.skipif(
    BACKEND != "tensorflow" or importlib.util.find_spec("jax") is None,
    reason="once is enough, where JAX is",
)


def printed_by(module: str) -> Any:
    """The JSON in the last line that a module prints; a JAX that runs cannot be given devices."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", module],
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(root)},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
