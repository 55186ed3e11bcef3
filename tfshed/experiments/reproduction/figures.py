"""The paper's six figures: which arms they are made of, and which panels they have."""

from __future__ import annotations

import dataclasses

from tfshed.experiments.reproduction import arms


@dataclasses.dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        number: Of the paper.
        title: What it shows.
        curves: The arms whose accuracy, rate and keep-ratios are drawn.
        controls: Arms that the paper does not have, drawn with the curves.
        overlaps: Pairs of arms whose kept weights are compared over time.
        more: Arms that only the claims about this figure need.
        blocks: Whether what is kept are 4x1 blocks, and the PMF of their L0 is drawn.
    """

    number: int
    title: str
    curves: tuple[str, ...]
    controls: tuple[str, ...] = ()
    overlaps: tuple[tuple[str, str], ...] = ()
    more: tuple[str, ...] = ()
    blocks: bool = False

    @property
    def arms(self) -> list[str]:
        """All arms that the figure needs, each once."""
        pairs = [name for pair in self.overlaps for name in pair]
        return list(dict.fromkeys([*self.curves, *self.controls, *pairs, *self.more]))


FIGURES = {
    figure.number: figure
    for figure in (
        Figure(
            1,
            "Effect of the pruning schedule",
            (arms.LINEAR, arms.MAIN, arms.FASTER, arms.FASTEST),
            (arms.SHADOW,),
        ),
        Figure(
            2,
            "Effect of the learning-rate schedule",
            (arms.MAIN, arms.CYCLIC),
            (arms.SHADOW,),
        ),
        Figure(
            3,
            "Effect of shedding on GMP",
            (arms.ZERO, arms.MAIN, arms.LINEAR),
            (arms.SHADOW, arms.SHADOW_LINEAR, arms.FIXED, arms.MATCHED),
            more=(
                arms.SHADOW_ZERO,
                arms.SEED,
                arms.SHADOW_SEED,
                arms.MOMENTUM_6,
                arms.MOMENTUM_3,
                arms.MILD,
                arms.MILD_ZERO,
                arms.FINE_TUNE,
                arms.FINE_TUNE_ZERO,
                arms.FINE_TUNE_SLOWLY,
                arms.REWIND,
                arms.DEPTHWISE,
                arms.DEPTHWISE_99,
                arms.SHADOW_DEPTHWISE,
            ),
        ),
        Figure(
            4,
            "Effect of shedding on random pruning",
            (arms.RANDOM_ZERO, arms.RANDOM, arms.RANDOM_DECAY, arms.MAIN, arms.LINEAR),
        ),
        Figure(
            5,
            "Which weights are kept",
            (arms.ZERO, arms.MAIN, arms.DECAY, arms.STRONG_DECAY, arms.RANDOM_ZERO, arms.RANDOM),
            overlaps=(
                (arms.ZERO, arms.MAIN),
                (arms.DECAY, arms.MAIN),
                (arms.STRONG_DECAY, arms.MAIN),
                (arms.RANDOM_ZERO, arms.MAIN),
                (arms.RANDOM, arms.MAIN),
            ),
        ),
        Figure(
            6,
            "Effect of shedding on 4x1 blocks",
            (arms.BLOCK_ZERO, arms.BLOCK, arms.BLOCK_SELECTIVE),
            overlaps=((arms.BLOCK_ZERO, arms.BLOCK), (arms.BLOCK_SELECTIVE, arms.BLOCK)),
            blocks=True,
        ),
    )
}
