"""Says in sentences whether runs show cascade weight shedding, computed from their numbers.

The paper's claim is a comparison: with momentum 0.9 the actual keep-ratio falls below its target,
and accuracy dips and recovers; with momentum 0 neither happens. A dip alone proves nothing, since a
restart at a high learning rate causes one too. The sentences therefore always mention the controls.

Source: Azarian and Porikli, "Cascade Weight Shedding in Deep Neural Networks", 2021, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence

from tfshed.experiments.analysis.outcome import Outcome, mean, mean_range

# Smaller gaps are caused by a few weights near the threshold, with or without a cascade.
GAP = 0.02
# Smaller dips cannot be distinguished from chance if accuracy is measured on some hundred images.
DIP = 0.02


def describe(
    high: Sequence[Outcome],
    low: Sequence[Outcome],
    control: Sequence[Outcome],
    fixed: Sequence[Outcome],
    matched: Sequence[Outcome] | None = None,
    *,
    tests: int,
) -> list[str]:
    """Describes what the runs show, in sentences that depend only on their numbers.

    Args:
        high, low: The runs pruned with momentum 0.9 and with momentum 0: an outcome for each seed,
            in the same order of seeds.
        control: The runs without pruning, with momentum 0.9. If they have shadow masks
            (`Outcome.observed`), the gap is compared as well.
        fixed: The runs pruned with a fixed threshold, with momentum 0.9.
        matched: The runs with momentum 0 and ten times the learning rate. Default None: there are
            none.
        tests: The number of images that accuracy was measured on.
    """
    return [
        _shedding(high, low),
        *_below(high, low),
        _dip(high, low),
        _restart(high, control),
        *([_shadow(high, control)] if all(o.observed for o in control) else []),
        _threshold(high, fixed),
        *([_rate(high, low, matched)] if matched else []),
        _final(high, low, control, tests),
    ]


def _shedding(high: Sequence[Outcome], low: Sequence[Outcome]) -> str:
    a, b = [o.gap for o in high], [o.gap for o in low]
    text = (
        f"Shedding: the actual keep-ratio fell up to {mean_range(a)} below its target with "
        f"momentum 0.9, up to {mean_range(b)} with momentum 0. "
    )
    if max(a) < GAP and max(b) < GAP:
        return text + "This is hardly any shedding: both keep-ratios followed their targets."
    if min(a) > 2 * max(b) and min(a) >= GAP:
        return text + "More with momentum, as the paper reports (up to 0.15 with, 0 without)."
    if min(b) > 2 * max(a) and min(b) >= GAP:
        return text + "More without momentum, which is the opposite of what the paper reports."
    return (
        text + "The two are too close, or the seeds too far apart, to tell; the paper reports up "
        "to 0.15 with momentum and 0 without."
    )


def _below(high: Sequence[Outcome], low: Sequence[Outcome]) -> list[str]:
    """The danger that the paper mentions: too strong a cascade ends below the final target."""
    found = [
        f"with momentum {name} at {mean_range([o.actual for o in runs])}"
        for name, runs in (("0.9", high), ("0", low))
        if min(o.actual / o.target for o in runs) < 0.95
    ]
    if not found:
        return []
    target = mean([o.target for o in high])
    return [f"The net ended below its final target {target:.3f}: {', '.join(found)}."]


def _dip(high: Sequence[Outcome], low: Sequence[Outcome]) -> str:
    a, b = [o.dip for o in high], [o.dip for o in low]
    back = mean([o.final - o.lowest for o in high])
    text = (
        f"Accuracy fell from {mean_range([o.before for o in high])} by {mean_range(a)} with "
        f"momentum 0.9 (to {mean_range([o.lowest for o in high])}) and by "
        f"{mean_range(b)} with momentum 0. "
    )
    if mean(a) < DIP:
        return text + "So there was no dip with momentum 0.9, where the paper reports a deep one."
    text += f"With momentum 0.9, it had risen by {back:.3f} again at the end. "
    if min(a) > 2 * max(b):
        return text + "A dip with momentum and (nearly) none without is what the paper reports."
    return text + "The paper reports no dip with momentum 0; here the two do not differ as much."


def _restart(high: Sequence[Outcome], control: Sequence[Outcome]) -> str:
    a, c = mean([o.dip for o in high]), mean([o.dip for o in control])
    text = f"Control: without pruning, the same restart caused a dip of {c:.3f}. "
    if a < DIP and c < DIP:
        return text + "There is no dip to explain in either case."
    if c < DIP:
        return text + "So the restart alone does not make the dip."
    if a <= c:
        return text + "That is as deep as with pruning: the dip here is no sign of a cascade."
    return text + (
        f"That is {c / a:.0%} of the dip with pruning: this part is caused by the restart alone "
        "(high learning rate, momentum that starts at zero, outdated BatchNorm statistics)."
    )


def _shadow(high: Sequence[Outcome], control: Sequence[Outcome]) -> str:
    a, c = [o.gap for o in high], [o.gap for o in control]
    text = (
        f"Control: counted on shadow masks, while no weight is pruned, the gap is {mean_range(c)}. "
    )
    if max(a) < GAP:
        return text + "Since there was no gap with pruning, that tells nothing."
    if min(a) > max(c) and mean(a) - mean(c) >= GAP:
        share = max(0.0, 1 - mean(c) / mean(a))
        return text + f"Pruning adds to the shedding: {share:.0%} of the gap is not there."
    if mean(c) > 0.8 * mean(a):
        return text + (
            f"That is {mean(c) / mean(a):.0%} of the gap with pruning: these weights cross the "
            "threshold in ordinary training, and the gap is no answer to pruning."
        )
    return text + "The two are too close, or the seeds too far apart, to tell what pruning adds."


def _threshold(high: Sequence[Outcome], fixed: Sequence[Outcome]) -> str:
    a, f = [o.gap for o in high], [o.gap for o in fixed]
    text = f"Control: with the threshold fixed at its first value, the gap is {mean_range(f)}. "
    if max(a) < GAP:
        return text + "Since there was no gap before, that tells nothing."
    share = mean(f) / mean(a)
    if share > 0.8:
        return text + "The threshold that grows does not make the gap."
    return text + f"{share:.0%} of the gap is left without the growth of the threshold."


def _rate(high: Sequence[Outcome], low: Sequence[Outcome], matched: Sequence[Outcome]) -> str:
    a, b, m = (mean([o.gap for o in x]) for x in (high, low, matched))
    text = f"Control: momentum 0 with ten times the learning rate has a gap of {m:.3f}. "
    if a < GAP:
        return text + "Since there was no gap with momentum 0.9, that tells nothing."
    if abs(m - a) < abs(m - b):
        return text + (
            "This is nearer to momentum 0.9, so the size of the step counts more than momentum."
        )
    return text + "This is nearer to momentum 0, so momentum counts beyond the size of the step."


def _final(
    high: Sequence[Outcome], low: Sequence[Outcome], control: Sequence[Outcome], tests: int
) -> str:
    a, b, c = (mean([o.final for o in x]) for x in (high, low, control))
    p = min(max((a + b) / 2, 0.0), 1.0)
    # The standard error of the difference of two independent nets, on the images of all seeds.
    error = (2 * p * (1 - p) / (tests * len(high))) ** 0.5
    text = (
        f"At the end, accuracy is {a:.3f} with momentum 0.9, {b:.3f} with momentum 0, and {c:.3f} "
        f"without pruning; one test image counts {1 / tests:.4f}. "
    )
    if abs(a - b) <= 2 * error:
        return text + f"Momentum 0.9 and 0 do not differ by more than chance ({2 * error:.3f})."
    word = "better" if a > b else "worse"
    return text + f"Momentum 0.9 is {word} than 0 by more than chance ({2 * error:.3f})."
