"""Checks of numbers that a caller passes, with errors that say what was expected and received."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np


def check_number(name: str, value: Any, positive: bool = False) -> float:
    """Returns a finite number as an int or a float; raises ValueError for anything else."""
    wrong = isinstance(value, bool) or not isinstance(value, numbers.Real)
    if wrong or not math.isfinite(value) or (positive and value <= 0):
        kind = "a positive number" if positive else "a finite number"
        raise ValueError(f"expected {name} to be {kind}, received {value!r}")
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def check_int(name: str, value: Any, least: float = -math.inf, most: float = math.inf) -> None:
    """Raises ValueError unless `value` is an int, Python's or NumPy's, from `least` to `most`."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not least <= value <= most:
        reach = f" from {least} to {most}" if most < math.inf else f" >= {least}"
        reach = reach if least > -math.inf else ""
        raise ValueError(f"{name}: expected a whole number{reach}, received {value!r}")


def check_whole(name: str, value: Any, least: int) -> int:
    """Returns a whole number as an int; raises ValueError if it is not whole or below `least`."""
    # Floats such as 300.0 are accepted: users of tfmot write `np.ceil(n / batch) * epochs`.
    number = check_number(name, value)
    if number != int(number) or number < least:
        raise ValueError(f"expected {name} to be an integer >= {least}, received {value!r}")
    return int(number)
