"""Says in words and numbers what shedding did in one run, and what one could change."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from tfshed.experiments.analysis.remedies import Facts, remedies
from tfshed.experiments.recorded import read_json
from tfshed.observe.cascade_monitor import TABLE as MONITOR
from tfshed.observe.csv_table import read_table
from tfshed.observe.run_directory import SETTINGS

YES, NO, NOT_DECIDED = "yes", "no", "not decided"
# A gap of this size is shedding; one of less than half of it may come from a few weights that begin
# below the threshold. What is between is not decided.
GAP = 0.02
# The shadow has (nearly) all of the gap from this share on, and little of it up to the other one.
MOST, LITTLE = 0.8, 0.5
# The final target is reached if the keep-ratio is this near to it, in shares of the target.
NEAR = 0.02

# The folder of a run, its keep_ratio.csv, or the rows of a `KeepRatio`.
RunLike: TypeAlias = "str | os.PathLike[str] | Sequence[Mapping[str, Any]]"


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found. `print` shows it in sentences.

    Attributes:
        ahead: Whether shedding ran ahead of the target: "yes", "no" or "not decided".
        largest_gap, at_step: The largest target minus actual keep-ratio, and its step; None without
            rows to tell.
        began: The step of the first row from which on it ran ahead; None if it did not.
        from_pruning: Whether pruning causes most of it: "yes", "no" or "not decided".
        shadow_share: The largest gap of the shadow divided by that of the run; None without a
            shadow, or without a gap.
        reached: Whether the final target is reached by pruning: "yes"; "no" if the net shed itself
            past it; "not decided" for a run that has not come to its final target.
        remedies: What one could change, in sentences. Empty where nothing needs to.
        lines: All of it in sentences.
    """

    ahead: str
    largest_gap: float | None
    at_step: int | None
    began: int | None
    from_pruning: str
    shadow_share: float | None
    reached: str
    remedies: tuple[str, ...]
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines)


def diagnose(run: RunLike, shadow: RunLike | None = None) -> Diagnosis:
    """Tells what shedding did in a run: how much, since when, why, and what to change.

    Args:
        run: The folder of a run (see `tfshed.KeepRatio`), a keep_ratio.csv, or the `history` of a
            `KeepRatio`. In a folder, cascade.csv (see `tfshed.CascadeMonitor`) and settings.json
            are taken into account if they are there.
        shadow: The same for a run with `observe=True` and otherwise the same settings, of which
            nothing was pruned. Default None: how much of the shedding pruning causes is then not
            decided.

    Returns:
        A `Diagnosis`. It is about one run: whether another seed does the same is not known.

    Raises:
        FileNotFoundError: There is no keep_ratio.csv.
        ValueError: The rows lack the columns of `KeepRatio`; `run` is a shadow, or `shadow` is not
            one.

    >>> gaps = [0.0, 0.125, 0.25, 0.05, 0.0]
    >>> targets = [0.9, 0.7, 0.5, 0.3, 0.2]
    >>> rows = [
    ...     {"step": 10 * i, "target": r, "actual": r - g, "scheduled": 10 * i, "shed": 20 * i}
    ...     for i, (r, g) in enumerate(zip(targets, gaps), 1)
    ... ]
    >>> found = diagnose(rows)
    >>> found.ahead, found.largest_gap, found.began, found.reached, found.from_pruning
    ('yes', 0.25, 20, 'yes', 'not decided')
    >>> print(found)
    Shedding ran ahead of the target: the actual keep-ratio was up to 0.250 below it, at ...
    """
    rows = _rows(run, "run")
    if any(row.get("observed") for row in rows):
        raise ValueError(
            "run: expected a run that is pruned, received one with observe=True. Give it as shadow"
        )
    pruning = [row for row in rows if row["target"] < 1]
    if not pruning:
        text = (
            "Not decided: no update has pruned anything yet, so there is no target to be ahead of."
        )
        return Diagnosis(NOT_DECIDED, None, None, None, NOT_DECIDED, None, NOT_DECIDED, (), (text,))
    widest = max(pruning, key=_gap)
    largest, at_step = _gap(widest), int(widest["step"])
    ahead = YES if largest >= GAP else NO if largest < GAP / 2 else NOT_DECIDED
    began = None
    if ahead == YES:
        began = int(next(row["step"] for row in pruning if _gap(row) >= GAP / 2))
    share = None if shadow is None else _shadow_share(rows, shadow, largest, ahead)
    from_pruning = NOT_DECIDED
    if ahead == YES and share is not None and not LITTLE < share < MOST:
        from_pruning = YES if share <= LITTLE else NO
    reached = _reached(pruning)
    facts = Facts(
        ahead=ahead == YES,
        past=reached == NO,
        from_pruning=from_pruning,
        settings=_settings(run),
        monitor=_monitor(run),
        began_with_first_update=began is not None and began <= int(pruning[0]["step"]) + 1,
    )
    found = remedies(facts)
    lines = [
        _ahead_line(ahead, largest, at_step),
        *_began_line(ahead, began, pruning),
        *_cause_line(ahead, from_pruning, share, shadow is not None),
        _reached_line(reached, pruning),
        *(f"Remedy: {each}" for each in found),
    ]
    return Diagnosis(
        ahead, largest, at_step, began, from_pruning, share, reached, tuple(found), tuple(lines)
    )


def _gap(row: Mapping[str, Any]) -> float:
    return float(row["target"] - row["actual"])


def _rows(run: RunLike, name: str) -> list[Mapping[str, Any]]:
    if isinstance(run, (str, os.PathLike)):
        path = Path(run)
        path = path / "keep_ratio.csv" if path.is_dir() else path
        if not path.is_file():
            raise FileNotFoundError(
                f"{name}: expected the folder of a run with keep_ratio.csv, or that file, and "
                f"{path} is not there"
            )
        rows: Sequence[Mapping[str, Any]] = read_table(path)[1]
    else:
        rows = list(run)
    wanted = ("step", "target", "actual", "scheduled", "shed")
    for row in rows[:1]:
        missing = [column for column in wanted if column not in row]
        if missing:
            raise ValueError(
                f"{name}: expected rows of tfshed.KeepRatio, received some without "
                f"{', '.join(missing)}"
            )
    # Updates within one execution have rows of which only the target is known.
    known = [row for row in rows if row["actual"] is not None]
    if not known:
        raise ValueError(f"{name}: expected rows with keep-ratios, received none")
    return known


def _shadow_share(
    rows: Sequence[Mapping[str, Any]], shadow: RunLike, largest: float, ahead: str
) -> float | None:
    """The shadow's largest gap, up to the last step of the run, as a share of the run's."""
    others = _rows(shadow, "shadow")
    if not any(row.get("observed") for row in others):
        raise ValueError(
            "shadow: expected a run with observe=True, received one without. A net that is not "
            "pruned and not observed has no gap to compare with"
        )
    last = rows[-1]["step"]
    gaps = [_gap(row) for row in others if row["step"] <= last and row["target"] < 1]
    if ahead != YES or not gaps:
        return None
    return max(0.0, max(gaps)) / largest


def _reached(pruning: Sequence[Mapping[str, Any]]) -> str:
    last = pruning[-1]
    if _gap(last) > max(NEAR * last["target"], 0.002):
        return NO
    # The target still moved in the last row: more may follow.
    moving = len(pruning) < 2 or pruning[-2]["target"] != last["target"]
    if moving and last.get("event") == "update":
        return NOT_DECIDED
    return YES if -_gap(last) <= max(NEAR * last["target"], 0.002) else NOT_DECIDED


def _settings(run: RunLike) -> Mapping[str, Any]:
    """The phase of the recipe, where the run has one."""
    if not isinstance(run, (str, os.PathLike)):
        return {}
    path = Path(run)
    recorded = read_json((path if path.is_dir() else path.parent) / SETTINGS) or {}
    settings = recorded.get("settings", {})
    return dict(settings.get("config", {}).get(settings.get("phase", ""), {}))


def _monitor(run: RunLike) -> list[Mapping[str, Any]]:
    if not isinstance(run, (str, os.PathLike)):
        return []
    path = Path(run)
    table = (path if path.is_dir() else path.parent) / MONITOR
    return list(read_table(table)[1]) if table.is_file() else []


def _ahead_line(ahead: str, largest: float, at_step: int) -> str:
    if ahead == YES:
        return (
            "Shedding ran ahead of the target: the actual keep-ratio was up to "
            f"{largest:.3f} below it, at step {at_step}. This is one run; another seed may differ."
        )
    if ahead == NO:
        return (
            "Shedding did not run ahead of the target: the actual keep-ratio was at most "
            f"{max(0.0, largest):.3f} below it."
        )
    return (
        f"Not decided whether shedding ran ahead of the target: the largest gap, {largest:.3f}, is "
        f"between {GAP / 2:g} and {GAP:g}."
    )


def _began_line(ahead: str, began: int | None, pruning: Sequence[Mapping[str, Any]]) -> list[str]:
    if ahead != YES or began is None:
        return []
    first = next(row for row in pruning if row["step"] == began)
    return [
        f"It began by step {began}, when the target was {first['target']:.3f}: "
        f"{1 - first['target']:.1%} of the net were to be pruned by then."
    ]


def _cause_line(ahead: str, from_pruning: str, share: float | None, given: bool) -> list[str]:
    if ahead != YES:
        return []
    if not given:
        return [
            "Not decided whether pruning causes it: that needs a shadow, the same run with "
            "observe=True."
        ]
    if share is None:
        return ["Not decided whether pruning causes it: the shadow has no rows to compare."]
    text = f"The shadow, of which nothing is pruned, has {share:.0%} of this gap: "
    if from_pruning == YES:
        return [text + "most of the shedding comes from pruning."]
    if from_pruning == NO:
        return [text + "ordinary training sheds as much, and pruning adds little."]
    return [text + "not decided whether most of it comes from pruning."]


def _reached_line(reached: str, pruning: Sequence[Mapping[str, Any]]) -> str:
    last = pruning[-1]
    numbers = f"keep-ratio {last['actual']:.4f}, target {last['target']:.4f}"
    if reached == NO:
        return (
            f"The net shed itself past its target ({numbers}): nothing was left for pruning to "
            "choose, which is the pitfall of section 4.3 of the paper."
        )
    if reached == YES:
        pruned, shed = last["scheduled"], last["shed"]
        part = shed / (pruned + shed) if pruned + shed else 0.0
        return (
            f"The final target is reached by pruning ({numbers}); {part:.0%} of what went was shed."
        )
    return f"Not decided whether the final target is reached: the run is not there yet ({numbers})."
