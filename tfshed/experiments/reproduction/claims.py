"""The paper's 24 claims as measures on runs, with the limits of each verdict.

The limits were written down before any run. A claim of a difference has to reach a quarter of the
paper's size (`verdict.SHARE`); where the paper gives no size, 0.0025. Nothing smaller could be told
from chance with three seeds on 10,000 images.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from tfshed.experiments.analysis.blocks import relative_threshold
from tfshed.experiments.reproduction import arms
from tfshed.experiments.reproduction.kept_sets import degenerate_share, final_iou
from tfshed.experiments.reproduction.records import Record
from tfshed.experiments.reproduction.verdict import SHARE, AtLeast, AtMost, Between, Rule

# The runs of one seed by the name of their arm, and a number that they give.
Runs = Mapping[str, Record]
Measure = Callable[[Runs], float]
NO_SIZE = 0.0025


@dataclasses.dataclass(frozen=True)
class Part:
    """One number that a claim rests on.

    Attributes:
        says: What the number is.
        needs: The arms that it is made of.
        measure: Gives the number of one seed.
        rule: Its limits.
        accuracy: Whether it is a difference of accuracies, so that its interval is at least one
            test image wide. Default False.
    """

    says: str
    needs: tuple[str, ...]
    measure: Measure
    rule: Rule
    accuracy: bool = False


@dataclasses.dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    Attributes:
        number: From 1; 25 and 26 are what section 4.4 supposes without a test.
        section: Of the paper.
        figure: Of the paper, whose command makes its runs.
        says: The claim.
        paper: The paper's number.
        parts: All of them have to hold.
        control: A number beside it that the paper lacks, or None.
    """

    number: int
    section: str
    figure: int
    says: str
    paper: str
    parts: tuple[Part, ...]
    control: Part | None = None


def _mean(record: Record, first: int, last: int) -> float:
    return float(record.curve("val_accuracy")[first - 1 : last].mean())


def _early(runs: Runs) -> float:
    slow = min(_mean(runs[name], 15, 20) for name in (arms.LINEAR, arms.MAIN))
    return slow - float(np.mean([_mean(runs[n], 15, 20) for n in (arms.FASTER, arms.FASTEST)]))


def _late(runs: Runs) -> float:
    slow = max(runs[name].final for name in (arms.LINEAR, arms.MAIN))
    return float(np.mean([runs[name].final for name in (arms.FASTER, arms.FASTEST)])) - slow


SCHEDULES = (arms.LINEAR, arms.MAIN, arms.FASTER, arms.FASTEST)


def _jump(runs: Runs) -> float:
    return float(np.mean([runs[n].accuracy(12) - runs[n].accuracy(11) for n in SCHEDULES]))


def _decline(runs: Runs) -> float:
    # The most aggressive schedule is left out, as in the paper.
    return float(np.mean([runs[n].accuracy(23) - runs[n].final for n in SCHEDULES[:3]]))


def _cyclic_gain(runs: Runs) -> float:
    steps, cycles = runs[arms.MAIN], runs[arms.CYCLIC]
    # The last cycle begins after epoch 28.
    return (steps.accuracy(23) - steps.final) - (cycles.accuracy(28) - cycles.final)


def _recovery(runs: Runs) -> float:
    """The share of the dip that is made up for by epoch 10; 1 where there is no dip."""
    run = runs[arms.MAIN]
    return (run.accuracy(10) - run.lowest(3)) / run.dip() if run.dip() > 0 else 1.0


def _final(better: str, worse: str) -> tuple[tuple[str, ...], Measure]:
    return (better, worse), lambda runs: runs[better].final - runs[worse].final


def _widest(name: str) -> tuple[tuple[str, ...], Measure]:
    return (name,), lambda runs: runs[name].widest


def _overlap(one: str, other: str) -> tuple[tuple[str, ...], Measure]:
    return (one, other), lambda runs: final_iou(runs[one], runs[other])


def _random_overlap(runs: Runs) -> float:
    with_it = final_iou(runs[arms.RANDOM], runs[arms.MAIN])
    return with_it - final_iou(runs[arms.RANDOM_ZERO], runs[arms.MAIN])


def degenerate(name: str) -> Measure:
    """The share of weights in kept blocks that are degenerate in the end, in runs of an arm."""

    def measure(runs: Runs) -> float:
        run = runs[name]
        # The paper calls weights of ResNet50 below 6e-3 degenerate. Nets of another size have
        # weights of another size, so the limit is taken from the net before it is pruned.
        limit = relative_threshold(run.weights(0), keep_ratio=0.15)
        return degenerate_share(run.weights(len(run.epochs)), limit)

    return measure


def _fewer_degenerate(runs: Runs) -> float:
    return degenerate(arms.BLOCK_ZERO)(runs) - degenerate(arms.BLOCK)(runs)


def _excess(one: str, shadow: str) -> Part:
    return Part(
        "largest gap minus that of the shadow, which is not pruned",
        (one, shadow),
        lambda runs: runs[one].widest - runs[shadow].widest,
        AtLeast(0.01),
    )


def _dip_excess(runs: Runs) -> float:
    return runs[arms.MAIN].dip() - runs[arms.SHADOW].dip()


CLAIMS: tuple[Claim, ...] = (
    Claim(
        1,
        "4.1",
        1,
        "A linear schedule and an exponential one with time constant 3 are ahead of faster ones "
        "in epochs 15 to 20",
        "+0.01",
        (Part("accuracy ahead", SCHEDULES, _early, AtLeast(SHARE * 0.01), True),),
    ),
    Claim(
        2,
        "4.1",
        1,
        "The faster schedules are ahead at the end",
        "no number",
        (Part("accuracy ahead", SCHEDULES, _late, AtLeast(NO_SIZE), True),),
    ),
    Claim(
        3,
        "4.1",
        1,
        "Accuracy jumps in epoch 12, when the rate falls to a tenth",
        "above +0.01",
        (Part("jump", SCHEDULES, _jump, AtLeast(SHARE * 0.01), True),),
        Part(
            "the same jump without pruning",
            (arms.SHADOW,),
            lambda runs: runs[arms.SHADOW].accuracy(12) - runs[arms.SHADOW].accuracy(11),
            AtLeast(SHARE * 0.01),
            True,
        ),
    ),
    Claim(
        4,
        "4.1",
        1,
        "With the smallest rate, from epoch 24 on, accuracy declines for all but the fastest "
        "schedule",
        "no number",
        (Part("decline from epoch 23 to 35", SCHEDULES, _decline, AtLeast(NO_SIZE), True),),
    ),
    Claim(
        5,
        "4.1",
        2,
        "A cyclic rate takes this decline away",
        "no number",
        (
            Part(
                "decline with steps minus that of the last cycle",
                (arms.MAIN, arms.CYCLIC),
                _cyclic_gain,
                AtLeast(NO_SIZE),
                True,
            ),
        ),
    ),
    Claim(
        6,
        "4.2",
        3,
        "With momentum 0.9 accuracy nearly collapses when pruning starts, and recovers in a few "
        "epochs",
        "no number",
        (
            Part(
                "dip within 3 epochs",
                (arms.MAIN,),
                lambda runs: runs[arms.MAIN].dip(),
                AtLeast(0.1),
                True,
            ),
            Part("share of it made up for by epoch 10", (arms.MAIN,), _recovery, AtLeast(0.5)),
        ),
        Part(
            "dip minus that without pruning",
            (arms.MAIN, arms.SHADOW),
            _dip_excess,
            AtLeast(0.02),
            True,
        ),
    ),
    Claim(
        7,
        "4.2",
        3,
        "With momentum 0 there is no such dip",
        "0",
        (
            Part(
                "dip within 3 epochs",
                (arms.ZERO,),
                lambda runs: runs[arms.ZERO].dip(),
                AtMost(0.02),
                True,
            ),
        ),
    ),
    Claim(
        8,
        "4.2",
        3,
        "With momentum 0 the actual keep-ratio follows its target",
        "about 0",
        (Part("largest gap", *_widest(arms.ZERO), AtMost(0.02)),),
        Part("largest gap of the shadow, momentum 0", *_widest(arms.SHADOW_ZERO), AtMost(0.02)),
    ),
    Claim(
        9,
        "4.2",
        3,
        "With momentum 0.9 and an exponential schedule it is far below its target",
        "0.15",
        (Part("largest gap", *_widest(arms.MAIN), AtLeast(SHARE * 0.15)),),
        _excess(arms.MAIN, arms.SHADOW),
    ),
    Claim(
        10,
        "4.2, 4.3",
        3,
        "With a linear schedule it is still further below, and 55 % of the net are gone within 5 "
        "epochs",
        "0.40 at epoch 5",
        (
            Part(
                "gap after epoch 5",
                (arms.LINEAR,),
                lambda runs: runs[arms.LINEAR].gap(5),
                AtLeast(SHARE * 0.40),
            ),
        ),
        _excess(arms.LINEAR, arms.SHADOW_LINEAR),
    ),
    Claim(
        11,
        "4.2",
        3,
        "The removal of the first few percent (the seed) triggers it",
        "no number",
        (
            Part(
                "largest gap after a seed of 5 % alone, minus that of its shadow",
                (arms.SEED, arms.SHADOW_SEED),
                lambda runs: runs[arms.SEED].widest - runs[arms.SHADOW_SEED].widest,
                AtLeast(SHARE * 0.15),
            ),
        ),
        Part("largest gap of the shadow of the seed", *_widest(arms.SHADOW_SEED), AtMost(0.02)),
    ),
    Claim(
        12,
        "4.2",
        3,
        "It is weaker with momentum 0.6 and 0.3",
        "no number",
        (
            Part(
                "largest gap minus the mean of those with 0.6 and 0.3",
                (arms.MAIN, arms.MOMENTUM_6, arms.MOMENTUM_3),
                lambda runs: (
                    runs[arms.MAIN].widest
                    - (runs[arms.MOMENTUM_6].widest + runs[arms.MOMENTUM_3].widest) / 2
                ),
                AtLeast(0.01),
            ),
        ),
        Part(
            "largest gap with momentum 0 at ten times the rate", *_widest(arms.MATCHED), AtMost(1)
        ),
    ),
    Claim(
        13,
        "4.2",
        3,
        "Nets of depthwise and pointwise convolutions hardly show it (there: EfficientNet-b0 and "
        "MobileNetV3)",
        "0 at 0.9; mild or 0 at 0.99",
        (Part("largest gap, momentum 0.9", *_widest(arms.DEPTHWISE), AtMost(0.02)),),
        Part("largest gap, momentum 0.99", *_widest(arms.DEPTHWISE_99), AtMost(0.02)),
    ),
    Claim(
        14,
        "4.3",
        3,
        "Momentum 0.9 ends slightly more accurate than momentum 0",
        "slightly",
        (Part("accuracy ahead", *_final(arms.MAIN, arms.ZERO), AtLeast(0.0), True),),
        Part(
            "accuracy ahead of momentum 0 at ten times the rate",
            *_final(arms.MAIN, arms.MATCHED),
            AtLeast(0.0),
            True,
        ),
    ),
    Claim(
        15,
        "4.3",
        4,
        "Random pruning gains much by momentum 0.9",
        "+0.117",
        (
            Part(
                "accuracy ahead",
                *_final(arms.RANDOM, arms.RANDOM_ZERO),
                AtLeast(SHARE * 0.117),
                True,
            ),
        ),
    ),
    Claim(
        16,
        "4.3",
        4,
        "Random pruning gains more by a weight decay of 1e-4",
        "no number",
        (
            Part(
                "accuracy ahead",
                *_final(arms.RANDOM_DECAY, arms.RANDOM),
                AtLeast(NO_SIZE),
                True,
            ),
        ),
    ),
    Claim(
        17,
        "4.3",
        4,
        "Random pruning with both lags GMP by little",
        "-0.037",
        (
            Part(
                "accuracy of GMP ahead",
                *_final(arms.MAIN, arms.RANDOM_DECAY),
                Between(0.0, 2 * 0.037),
                True,
            ),
        ),
    ),
    Claim(
        18,
        "4.3",
        4,
        "Random pruning with both beats GMP with a linear schedule",
        "+0.009",
        (
            Part(
                "accuracy ahead",
                *_final(arms.RANDOM_DECAY, arms.LINEAR),
                AtLeast(SHARE * 0.009),
                True,
            ),
        ),
    ),
    Claim(
        19,
        "4.3",
        3,
        "With a high final target (0.6) the keep-ratio settles below it, and accuracy suffers",
        "no number",
        (
            Part(
                "final gap",
                (arms.MILD,),
                lambda runs: runs[arms.MILD].gap(len(runs[arms.MILD].epochs)),
                AtLeast(0.02),
            ),
            Part(
                "accuracy of momentum 0 ahead",
                *_final(arms.MILD_ZERO, arms.MILD),
                AtLeast(NO_SIZE),
                True,
            ),
        ),
    ),
    Claim(
        20,
        "4.5",
        5,
        "GMP with momentum 0 and 0.9 keep different weights",
        "IoU 0.4 (chance 0.081)",
        (Part("IoU at the end", *_overlap(arms.ZERO, arms.MAIN), Between(0.3, 0.5)),),
    ),
    Claim(
        21,
        "4.5",
        5,
        "So do different weight decays: about 0.4 for a moderate one, 0.05 for 1e-3",
        "IoU 0.4; 0.05",
        (
            Part(
                "IoU at the end, decay 1e-4 and none",
                *_overlap(arms.MAIN, arms.DECAY),
                Between(0.3, 0.5),
            ),
            Part(
                "IoU at the end, decay 1e-3 and none",
                *_overlap(arms.MAIN, arms.STRONG_DECAY),
                AtMost(0.15),
            ),
        ),
    ),
    Claim(
        22,
        "4.5",
        5,
        "Random pruning keeps more of GMP's weights with momentum 0.9 than with 0",
        "IoU above 0.2 and 0.15",
        (
            Part(
                "IoU with GMP ahead",
                (arms.RANDOM, arms.RANDOM_ZERO, arms.MAIN),
                _random_overlap,
                AtLeast(SHARE * 0.05),
            ),
        ),
        Part(
            "IoU of random, momentum 0, and GMP",
            *_overlap(arms.RANDOM_ZERO, arms.MAIN),
            Between(0.1, 0.2),
        ),
    ),
    Claim(
        23,
        "4.6",
        6,
        "4x1 blocks gain by momentum 0.9, and lose by selective decay",
        "+0.015; -0.009",
        (
            Part(
                "accuracy of momentum 0.9 ahead",
                *_final(arms.BLOCK, arms.BLOCK_ZERO),
                AtLeast(SHARE * 0.015),
                True,
            ),
            Part(
                "accuracy without selective decay ahead",
                *_final(arms.BLOCK, arms.BLOCK_SELECTIVE),
                AtLeast(SHARE * 0.009),
                True,
            ),
        ),
    ),
    Claim(
        24,
        "4.6",
        6,
        "Kept blocks have fewer degenerate weights with momentum 0.9",
        "0.25 and 0.60",
        (
            Part(
                "share of degenerate weights, momentum 0 minus 0.9",
                (arms.BLOCK, arms.BLOCK_ZERO),
                _fewer_degenerate,
                AtLeast(SHARE * 0.35),
            ),
        ),
    ),
    Claim(
        25,
        "4.4",
        3,
        "Supposed, not tested there: fine-tuning with momentum 0 closes the gap to rewinding the "
        "rate",
        "no number",
        (
            Part(
                "accuracy of rewinding ahead of fine-tuning, momentum 0.9",
                *_final(arms.REWIND, arms.FINE_TUNE),
                AtLeast(NO_SIZE),
                True,
            ),
            Part(
                "accuracy of fine-tuning with momentum 0 ahead of 0.9",
                *_final(arms.FINE_TUNE_ZERO, arms.FINE_TUNE),
                AtLeast(NO_SIZE),
                True,
            ),
        ),
    ),
    Claim(
        26,
        "4.4",
        3,
        "Supposed, not tested there: pruning the seed gradually closes it",
        "no number",
        (
            Part(
                "accuracy of fine-tuning with a gradual seed ahead",
                *_final(arms.FINE_TUNE_SLOWLY, arms.FINE_TUNE),
                AtLeast(NO_SIZE),
                True,
            ),
        ),
    ),
)
