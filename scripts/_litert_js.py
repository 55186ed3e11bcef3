"""Runs LiteRT files in LiteRT.js under Node, where XNNPACK has sparse kernels (WebAssembly).

Needs Node 20 or newer and, once, `npm install` in scripts/browser.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "browser"
# Where @litertjs/core is, if not where `npm install` in scripts/browser puts it.
VARIABLE = "TFSHED_LITERT_JS"
SECONDS = 600


@dataclasses.dataclass(frozen=True)
class Run:
    """What LiteRT.js made of a file.

    Attributes:
        outputs: arrays by the names of the outputs, flat.
        times: milliseconds of each timed run.
        error: what it said if it could not load or run the file, else "".
    """

    outputs: dict[str, np.ndarray]
    times: list[float]
    error: str


def package() -> Path:
    """The folder of @litertjs/core."""
    return Path(os.environ.get(VARIABLE) or FOLDER / "node_modules" / "@litertjs" / "core")


def missing() -> str:
    """What is lacking to run LiteRT.js, with what to do; "" if nothing is."""
    if shutil.which("node") is None:
        return "LiteRT.js: Node is not installed; install Node 20 or newer"
    if not (package() / "wasm").is_dir():
        return f"LiteRT.js: not at {package()}; run `npm install` in scripts/browser"
    return ""


def run(
    files: Sequence[str | os.PathLike[str]],
    inputs: Sequence[Mapping[str, np.ndarray]],
    rounds: int = 0,
    in_a_row: int = 1,
    prefix: Sequence[str] = (),
) -> list[Run]:
    """Runs each file once for its outputs, and all of them in turn `rounds` times for their times.

    Args:
        files: LiteRT files with a fixed batch.
        inputs: for each file its inputs, in the order of its signature; float32, int32 or uint8.
        rounds: how often each file is timed.
        in_a_row: how many timed runs of a file follow each other before the next file's turn. With
            more than one, an untimed run goes before them, which fills the processor's caches.
        prefix: a command that Node is given to, such as ("taskset", "--cpu-list", "0").

    Raises:
        RuntimeError: Node or LiteRT.js is missing, or Node ended with an error.
    """
    if missing():
        raise RuntimeError(missing())
    with tempfile.TemporaryDirectory() as folder:
        job = {
            "package": str(package().resolve()),
            "rounds": rounds,
            "in_a_row": in_a_row,
            "files": [
                {"path": str(Path(file).resolve()), "inputs": _written(given, Path(folder, str(i)))}
                for i, (file, given) in enumerate(zip(files, inputs, strict=True))
            ],
        }
        path = Path(folder, "job.json")
        path.write_text(json.dumps(job))
        script = [FOLDER / "under_node.mjs", path]
        command = [*prefix, "node", "--experimental-wasm-relaxed-simd", *script]
        answer = Path(folder, "answer.json")
        # Into a file: a pipe may be full before this process reads it, and Node would wait.
        with answer.open("w") as stream:
            done = subprocess.run(
                command, stdout=stream, stderr=subprocess.PIPE, text=True, timeout=SECONDS
            )
        written = answer.read_text()
    if done.returncode:
        raise RuntimeError(f"LiteRT.js under Node ended with an error:\n{done.stderr[-2000:]}")
    return [
        Run(
            {name: np.array(o, float) for name, o in zip(found["names"], found["outputs"])},
            found["times"],
            found["error"],
        )
        for found in json.loads(written)
    ]


def _written(inputs: Mapping[str, np.ndarray], folder: Path) -> list[dict[str, object]]:
    folder.mkdir()
    found = []
    for i, array in enumerate(inputs.values()):
        path = folder / f"{i}.bin"
        path.write_bytes(np.ascontiguousarray(array).tobytes())
        found.append({"path": str(path), "dtype": array.dtype.name, "shape": list(array.shape)})
    return found
