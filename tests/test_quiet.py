"""tfshed_command.import_tensorflow: TensorFlow's start says nothing, and nothing else is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(code: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def test_importing_and_using_tensorflow_prints_nothing():
    done = run(
        "import tfshed_command; tfshed_command.import_tensorflow()\n"
        "import tensorflow as tf; tf.function(lambda x: x + 1)(tf.constant(1.0))"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_is_no_note_is_passed_on():
    done = run(
        "import tfshed_command, sys, os\n"
        "class Broken:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'tensorflow':\n"
        "            os.write(2, b'I0000 00:00:1.2    7 port.cc:153] a note\\n')\n"
        "            os.write(2, b'E0000 00:00:1.2    7 other.cc:1] a trouble\\n')\n"
        "            raise ImportError('no TensorFlow here')\n"
        "sys.meta_path.insert(0, Broken())\n"
        "tfshed_command.import_tensorflow()\n"
    )
    assert done.returncode == 1
    assert "a note" not in done.stderr
    assert "a trouble" in done.stderr
    assert "no TensorFlow here" in done.stderr
