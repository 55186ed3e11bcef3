"""NaN and infinity in a run: found cheaply, and told with the place and the time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

# How many variables a message names.
NAMED = 3


class NonFiniteError(ArithmeticError):
    """The loss or a variable of a run is NaN or infinite.

    Attributes:
        step: at which it was found. since: the last step at which all was finite.
        checkpoint: the step of the newest checkpoint, which is finite; None without one.
    """

    def __init__(self, what: str, step: int, since: int, checkpoint: int | None):
        kept = (
            "no checkpoint was written yet"
            if checkpoint is None
            else f"the newest checkpoint, of step {checkpoint}, is from before and finite"
        )
        super().__init__(
            f"{what} at step {step}; at step {since} all was finite, and {kept}. Take a lower "
            "learning rate or clip gradients (clip_norm), or let the run do the former by itself: "
            "config.non_finite.action=rollback."
        )
        self.step, self.since, self.checkpoint = step, since, checkpoint


def non_finite(
    arrays: Mapping[str, np.ndarray], names: Mapping[str, str] | None = None
) -> str | None:
    """Which arrays hold NaN or infinity, in words; None if none does.

    Args:
        arrays: by key.
        names: what the text calls each key; default the keys themselves.

    Example:
        >>> import numpy as np
        >>> non_finite({"net/kernel": np.array([1.0, np.nan, np.inf]), "net/bias": np.zeros(2)})
        '2 of 3 numbers in net/kernel are NaN or infinite'
    """
    bad = []
    for name, array in arrays.items():
        # bfloat16 and float8, which NumPy gets from ml_dtypes, are of kind "V".
        if array.dtype.kind not in "fV":
            continue
        finite = np.isfinite(array)
        if not finite.all():
            count = int(finite.size - np.count_nonzero(finite))
            bad.append(f"{count} of {finite.size} numbers in {(names or {}).get(name, name)}")
    if not bad:
        return None
    more = f" and {len(bad) - NAMED} variables more" if len(bad) > NAMED else ""
    return f"{', '.join(bad[:NAMED])}{more} are NaN or infinite"
