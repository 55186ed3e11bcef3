"""kill -9 at any point, the same command again: the run that was never broken off, to the bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
# 7 steps an epoch, 3 epochs; checkpoints at 4, 7, 8, 12, 14, 16, 20, 21. Each moment with the step
# that the next process goes on from.
MOMENTS = {"step 6": 4, "write 12": 8, "rows 2": 12}


def test_a_run_killed_at_every_kind_of_moment_is_the_unbroken_run(tmp_path):
    broken, unbroken = tmp_path / "broken", tmp_path / "unbroken"
    path = os.pathsep.join([str(ROOT), str(ROOT / "scripts")])
    program = str(Path(__file__).with_name("killed.py"))
    done = subprocess.run(
        [sys.executable, program, str(broken), str(unbroken), *MOMENTS],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    ends = [line for line in lines if line.startswith("ended with")]
    assert ends == [f"ended with {-signal.SIGKILL}"] * 3 + ["ended with 0"], done.stderr
    begun = [line for line in lines if line.startswith("Resuming")]
    assert begun == [f"Resuming from step {step} of 21." for step in MOMENTS.values()]

    for name in ("keep_ratio.csv", "keep_ratio_layers.csv"):
        assert (broken / name).read_bytes() == (unbroken / name).read_bytes()
    results = []
    for folder in (broken, unbroken):
        found = json.loads((folder / "results.json").read_text())
        del found["steps_per_second"]
        results.append(found)
    assert results[0] == results[1]
    assert results[0]["keep_actual"] < results[0]["keep_target"]  # it sheds
    files = [sorted((folder / "checkpoints").iterdir()) for folder in (broken, unbroken)]
    assert [p.name for p in files[0]] == [p.name for p in files[1]]
    a, b = (np.load(found[-1], allow_pickle=False) for found in files)
    assert a.files == b.files and any(a[name].dtype == bool for name in a.files)  # the masks
    for name in a.files:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
