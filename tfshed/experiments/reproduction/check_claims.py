"""Checks claims against finished runs, and says each result in two or three lines."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from tfshed.experiments.reproduction.claims import CLAIMS, Claim, Part
from tfshed.experiments.reproduction.records import Arm
from tfshed.experiments.reproduction.scales import Scale
from tfshed.experiments.reproduction.verdict import NOT_DECIDED, Estimate, estimate, together


@dataclasses.dataclass(frozen=True)
class Found:
    """What the runs say about one claim.

    Attributes:
        claim: The claim.
        verdict: "holds", "does not hold" or "not decided".
        numbers: A text for each of its parts, and one for its control if there is one.
        seeds: How many seeds were run.
        command: Runs what the claim needs.
    """

    claim: Claim
    verdict: str
    numbers: tuple[str, ...]
    seeds: int
    command: str

    def lines(self) -> list[str]:
        """The result as lines of text."""
        head = f"{self.claim.number:2d}. {self.verdict.upper()}: {self.claim.says}"
        seeds = f"{self.seeds} seeds" if self.seeds != 1 else "one seed"
        return [
            f"{head} (section {self.claim.section}, figure {self.claim.figure}; "
            f"paper: {self.claim.paper}).",
            *(f"    {text}" for text in self.numbers),
            f"    {seeds}: {self.command}",
        ]


def check_claims(
    arms: Mapping[str, Arm], scale: Scale, figures: Sequence[int], command: str
) -> list[Found]:
    """Checks all claims about some figures whose arms are all there.

    A claim whose runs are missing is not decided, and the text says which ones are missing. If arms
    are finished with different seeds, a claim is about the seeds that all of its arms have.

    Args:
        arms: Finished runs, by the name of their arm, with the same seeds.
        scale: Of the runs.
        figures: Numbers of figures.
        command: Of one figure, with "{figure}" in place of its number.
    """
    found = []
    for claim in CLAIMS:
        if claim.figure in figures:
            found.append(_check(claim, arms, scale, command.format(figure=claim.figure)))
    return found


def _check(claim: Claim, arms: Mapping[str, Arm], scale: Scale, command: str) -> Found:
    needed = {name for part in claim.parts for name in part.needs}
    missing = sorted(needed - set(arms))
    if not missing and not common_seeds(needed, arms):
        missing = ["those of the same seed"]
    if missing:
        text = f"these runs are missing: {', '.join(missing)}"
        return Found(claim, NOT_DECIDED, (text,), 0, command)
    numbers, verdicts, seeds = [], [], len(common_seeds(needed, arms))
    for part in claim.parts:
        value = measured(part, arms, scale)
        verdict = part.rule(value)
        verdicts.append(verdict)
        numbers.append(f"{part.says}: {value} (limit: {part.rule}): {verdict}")
    control = claim.control
    known = control is not None and set(control.needs) <= set(arms)
    if control is not None and known and common_seeds(control.needs, arms):
        value = measured(control, arms, scale)
        numbers.append(f"control, {control.says}: {value}")
    return Found(claim, together(verdicts), tuple(numbers), seeds, command)


def measured(part: Part, arms: Mapping[str, Arm], scale: Scale) -> Estimate:
    """The number of a part, over the seeds with which all of its arms are finished."""
    seeds = common_seeds(part.needs, arms)
    records = [arms[name].of_seeds(seeds) for name in part.needs]
    values = [part.measure(dict(zip(part.needs, runs))) for runs in zip(*records, strict=True)]
    return estimate(values, finest=1 / scale.tests if part.accuracy else 0.0)


def common_seeds(names: Iterable[str], arms: Mapping[str, Arm]) -> set[int]:
    """The seeds with which all of these arms are finished."""
    return set.intersection(*(arms[name].seeds for name in names))
