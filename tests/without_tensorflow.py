"""Runs a script as if TensorFlow and what needs it were not installed.

    python tests/without_tensorflow.py SCRIPT [ARGUMENTS ...]

Names are hidden from the search for modules, so that an import, and a look whether it would
succeed, end as they do where nothing is installed.
"""

from __future__ import annotations

import runpy
import sys
from typing import Any

HIDDEN = ("tensorflow", "tensorflow_datasets", "tf_keras", "tensorflow_model_optimization")


class Hiding:
    """A finder of modules that does not find the hidden ones."""

    def __init__(self, finder: Any) -> None:
        self.finder = finder

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.partition(".")[0] in HIDDEN:
            return None
        return self.finder.find_spec(name, path, target)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.finder, name)


if __name__ == "__main__":
    sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
    sys.argv = sys.argv[1:]
    sys.path.insert(0, sys.argv[0].rpartition("/")[0])
    runpy.run_path(sys.argv[0], run_name="__main__")
