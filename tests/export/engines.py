"""Interpreters of LiteRT files in which XNNPACK has sparse kernels, where they are installed.

On x86 with AVX, which most machines that run these tests have, XNNPACK runs nothing sparse.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import _litert_js
import numpy as np

# Takes an .npz of inputs for each file, writes one of outputs.
UNDER_QEMU = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter
for file in sys.argv[1:]:
    found = {}
    try:
        running = Interpreter(model_path=file, num_threads=1)
        running.allocate_tensors()
        inputs = np.load(file + ".in.npz")
        found = running.get_signature_runner("serving_default")(**inputs)
    except (RuntimeError, ValueError) as error:
        found = {"error": np.array(str(error))}
    np.savez(file + ".out.npz", **found)
"""


def litert_js(files, inputs):
    """Outputs by name for each file, or the text of an error."""
    runs = _litert_js.run(files, inputs)
    return [run.error or run.outputs for run in runs]


def qemu(files, inputs):
    """The same by ai-edge-litert on an emulated x86 processor without AVX."""
    return _emulated(["qemu-x86_64", "-cpu", "Nehalem", sys.executable], files, inputs)


def aarch64(files, inputs):
    """The same on an emulated 64-bit ARM processor."""
    root = _arm_folder()
    command = ["qemu-aarch64", "-L", f"{root}/root", f"{root}/root/usr/bin/python3.11"]
    return _emulated(command, files, inputs, PYTHONPATH=str(root / "site"), PYTHONHOME="")


def _emulated(python, files, inputs, **environment):
    for file, given in zip(files, inputs, strict=True):
        np.savez(f"{file}.in.npz", **given)
    done = subprocess.run(
        [*python, "-c", UNDER_QEMU, *map(str, files)],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = [dict(np.load(f"{file}.out.npz")) for file in files]
    return [str(outputs["error"]) if "error" in outputs else outputs for outputs in found]


def _no_qemu() -> str:
    if shutil.which("qemu-x86_64") is None:
        return "qemu-x86_64 is not installed (Debian: apt-get install qemu-user)"
    if importlib.util.find_spec("ai_edge_litert") is None:
        return "ai-edge-litert is not installed (pip install ai-edge-litert)"
    return "" if Path("/proc/cpuinfo").exists() else "qemu-user needs Linux"


def _arm_folder() -> Path:
    return Path(os.environ.get("TFSHED_AARCH64") or Path(__file__).parents[2] / "out" / "aarch64")


def _no_aarch64() -> str:
    if shutil.which("qemu-aarch64") is None:
        return "qemu-aarch64 is not installed (Debian: apt-get install qemu-user)"
    if not (_arm_folder() / "site" / "ai_edge_litert").is_dir():
        return f"no Python for ARM in {_arm_folder()} (scripts/aarch64 puts one there)"
    return ""


# By name: a function of files and inputs, and what is lacking to call it.
ENGINES = {
    "LiteRT.js": (litert_js, _litert_js.missing()),
    "qemu": (qemu, _no_qemu()),
    "aarch64": (aarch64, _no_aarch64()),
}
