"""Finds NaN and infinity in the variables of a run, and reports where and when they arose."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

# The largest number of variables that a message names.
NAMED = 3


class NonFiniteError(ArithmeticError):
    """The loss or a variable of a run is NaN or infinite.

    Attributes:
        step: The step at which this was found.
        since: The last step at which everything was finite.
        checkpoint: The step of the newest checkpoint, which is finite; None if there is none.
    """

    def __init__(self, what: str, step: int, since: int, checkpoint: int | None):
        kept = (
            "no checkpoint was written yet"
            if checkpoint is None
            else f"the newest checkpoint, of step {checkpoint}, is from before and finite"
        )
        super().__init__(
            f"{what} at step {step}; at step {since} all was finite, and {kept}. Use a lower "
            "learning rate or clip gradients (clip_norm), or let the run lower the rate by itself: "
            "config.non_finite.action=rollback."
        )
        self.step, self.since, self.checkpoint = step, since, checkpoint


def non_finite(
    arrays: Mapping[str, np.ndarray], names: Mapping[str, str] | None = None
) -> str | None:
    """Describes which arrays contain NaN or infinity; None if none does.

    Args:
        arrays: The arrays, by key.
        names: What the text calls each key. Default None: the key itself.

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
