"""Measures the time of `import tfshed` relative to `import keras`, in fresh processes by turns.

python benchmarks/import_time.py [--rounds 10]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

CODE = """
import os, time
before = dict(os.environ)
start = time.perf_counter()
import {0}
print(time.perf_counter() - start, "same" if dict(os.environ) == before else "changed")
"""


def measure(module: str) -> tuple[float, str]:
    """The seconds of an import, and whether it changed os.environ."""
    run = subprocess.run(
        [sys.executable, "-c", CODE.format(module)], capture_output=True, text=True, check=True
    )
    seconds, environment = run.stdout.split()[-2:]
    return float(seconds), environment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    times: dict[str, list[float]] = {"keras": [], "tfshed": []}
    environments = {}
    for turn in range(rounds + 1):
        for module in times:
            seconds, environments[module] = measure(module)
            if turn:  # the first fills the disk cache
                times[module].append(seconds)
        print(f"\rround {turn}/{rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    keras, tfshed = (statistics.median(t) for t in times.values())
    print(f"import keras   {keras:.2f} s, os.environ {environments['keras']}")
    print(f"import tfshed  {tfshed:.2f} s, os.environ {environments['tfshed']}")
    print(f"ratio of medians over {rounds} rounds: {tfshed / keras:.3f}")


if __name__ == "__main__":
    main()
