"""What can be changed in a run that sheds too much, from what is known of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

# Updates of more than this share of the weights' size are large: within a hundred of them weights
# are other ones.
LARGE_UPDATE = 0.01
# From this share on, the threshold lies where many weights are.
MANY_NEAR = 0.01
# An accuracy that is this much lower only because of running statistics.
LAG = 0.02


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known of a run.

    Attributes:
        ahead: Whether shedding ran ahead of the target.
        past: Whether the net shed itself past its final target.
        from_pruning: "yes", "no" or "not decided".
        settings: The fields of the recipe's phase, as far as they are known.
        monitor: The rows of a `CascadeMonitor`, or none.
        began_with_first_update: Whether shedding ran ahead at the first update.
    """

    ahead: bool
    past: bool
    from_pruning: str
    settings: Mapping[str, Any]
    monitor: Sequence[Mapping[str, Any]]
    began_with_first_update: bool


def remedies(facts: Facts) -> list[str]:
    """Sentences that say what to change; none where shedding did no harm.

    Where the settings are known, nothing is suggested that the run has already.
    """
    found = []
    if facts.past:
        found += _less_shedding(facts)
    elif facts.ahead and facts.from_pruning != "no":
        found.append(
            "none is needed as long as accuracy is good. Random pruning and blocks may gain by "
            "shedding; compare with threshold=0."
        )
    elif facts.ahead:
        found.append(
            "none is needed as long as accuracy is good. For less of it, change the rate, the "
            "momentum or the weight decay: the schedule does not cause it."
        )
    return found + _measured(facts)


def _less_shedding(facts: Facts) -> list[str]:
    given, found = facts.settings, []
    if given.get("momentum", 0.9):
        found.append(
            "momentum 0, or a learning rate that is lower by 1 - momentum: both make updates "
            "smaller."
        )
    if not given.get("learning_rate", {}).get("warmup_epochs"):
        found.append("warm-up: let the learning rate rise within the first epoch.")
    if given.get("grow_threshold") is not False:
        found.append("grow_threshold=False: the threshold then stays at its first value.")
    if given.get("weight_decay", 1):
        found.append("less weight decay, which pushes weights towards the threshold.")
    if facts.from_pruning != "no":
        found.append(
            "a gentler seed: a schedule that begins slowly (LinearDecay, or a larger time_constant)"
            if given.get("schedule") != "linear"
            else "a gentler seed: a later end, so that each update prunes less."
        )
        found.append("a lower final keep-ratio: the net has shown that it keeps fewer weights.")
    return found


def _measured(facts: Facts) -> list[str]:
    """What the rows of a monitor say."""
    found = []
    updates = [row["update_ratio"] for row in facts.monitor if row.get("update_ratio") is not None]
    near = [row["near_threshold"] for row in facts.monitor if row.get("near_threshold") is not None]
    lags = [row["batch_norm_lag"] for row in facts.monitor if row.get("batch_norm_lag") is not None]
    if facts.ahead and updates and max(updates) > LARGE_UPDATE:
        found.append(
            f"a lower learning rate: an update was up to {max(updates):.1%} of the size of the "
            "weights."
        )
    if facts.ahead and near and max(near) > MANY_NEAR:
        found.append(
            f"up to {max(near):.1%} of the kept weights were within one update of the threshold; "
            "a smaller step or threshold takes them out of its reach."
        )
    if lags and max(lags) > LAG:
        found.append(
            f"accuracy was measured up to {max(lags):.3f} too low, since BatchNorm's running "
            "statistics lag behind: lower BatchNorm's momentum. This part of a dip is no shedding."
        )
    return found
