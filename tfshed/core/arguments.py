"""Checks of numbers that a caller passes, with errors that say what was expected and received."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

# What a float32 holds, and what an int32 does: steps are counted in one.
MOST_FLOAT, MOST_INT = float(np.finfo("float32").max), 2**31 - 1


def is_number(value: Any) -> bool:
    """Whether a value is a number that a float32 holds: no bool, NaN or infinity."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return real and bool(abs(value) <= MOST_FLOAT)


def check_number(name: str, value: Any, positive: bool = False) -> float:
    """Returns the number that `value` is, as an int or a float.

    Raises:
        ValueError: `value` is no number, or none that is finite as a float32, or with `positive`
            none above 0. A bool is no number.
    """
    if not is_number(value) or (positive and value <= 0):
        kind = "a positive number" if positive else "a finite number"
        raise ValueError(f"expected {name} to be {kind}, received {value!r}")
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def check_int(name: str, value: Any, least: float = -math.inf, most: float = math.inf) -> None:
    """Raises ValueError unless `value` is an int, Python's or NumPy's, from `least` to `most`."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not least <= value <= most:
        # What an int32 holds is of interest only to someone who is above it.
        told = most not in (MOST_INT, math.inf) or (whole and value > most)
        reach = f" from {least} to {most}" if told else f" >= {least}"
        reach = reach if least > -math.inf else ""
        raise ValueError(f"{name}: expected a whole number{reach}, received {value!r}")


def check_bool(name: str, value: Any) -> bool:
    """Returns the bool that `value` is, Python's or NumPy's; raises ValueError otherwise."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name}: expected True or False, received {value!r}")
    return bool(value)


def check_whole(name: str, value: Any, least: int) -> int:
    """Returns a whole number as an int.

    Raises:
        ValueError: `value` is not whole, or it is not from `least` to 2^31 - 1.
    """
    # Floats such as 300.0 are accepted: users of tfmot write `np.ceil(n / batch) * epochs`.
    number = check_number(name, value)
    if number != int(number) or number < least:
        raise ValueError(f"expected {name} to be an integer >= {least}, received {value!r}")
    if number > MOST_INT:
        raise ValueError(f"expected {name} to be an integer <= {MOST_INT}, received {value!r}")
    return int(number)
