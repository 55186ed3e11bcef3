"""What went wrong inside of compiled steps: counted there, and told outside of them.

A compiled step cannot warn. It adds 1 to a counter instead, which is read when an epoch ends.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from tfshed.core.backend import read, to_numpy
from tfshed.core.config import PruningConfig

# The elements of the counter `PruningGroup.events`: steps in which the collapse guard held shedding
# back, and updates at which the schedule gave no usable sparsity.
HELD, REFUSED = 0, 1


def count_event(events: Any, event: int, times: Any) -> None:
    """Adds to one of the counters.

    Args:
        events: int32 variable (2,), the counters.
        event: `HELD` or `REFUSED`.
        times: int32 scalar tensor, how often it happened in this step: 0 or 1.
    """
    # A sum with a constant vector, since backends write single elements in different ways.
    events.assign(read(events) + ops.cast(np.arange(2) == event, "int32") * times)


def problems(events: Any, config: PruningConfig) -> list[str]:
    """What the counters say, as sentences; empty if nothing went wrong.

    Args:
        events: int32 variable (2,), the counters.
        config: how the kernels are pruned.
    """
    found = []
    held, refused = to_numpy(events).tolist()
    if held:
        found.append(
            "shedding would have taken nearly all that is left: it was left out in some steps "
            f"(collapse_guard={config.collapse_guard}). A lower learning rate, momentum "
            "or threshold, or grow_threshold=False, sheds less."
        )
    if refused:
        found.append(
            "pruning_schedule: expected a sparsity in [0, 1) at every update, received another "
            f"number from {config.schedule!r}; these updates were left out"
        )
    return found
