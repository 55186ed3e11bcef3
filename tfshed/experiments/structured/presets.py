"""Ratios of filter pruning that papers compare, by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from tfshed.core.registry import Registry


@dataclasses.dataclass(frozen=True)
class Preset:
    """A filter pruning of a paper.

    Attributes:
        network: The name of the net, as in `tfshed.models.build`; residual nets have the shortcut
            "A", which has no parameters.
        ratios: The fraction of filters that is removed, by the names of its layers.
        flops_cut: The published fraction of multiply-adds that is removed.
    """

    network: str
    ratios: Mapping[str, float]
    flops_cut: float


PRESETS: Registry[Preset] = Registry("preset")


def preset(name: str) -> Preset:
    """The filter pruning of that name.

    Args:
        name: "vgg16_a", "resnet56_a", "resnet56_b", "resnet110_a" or "resnet110_b" of Li et al.
            2017 (arXiv 1608.08710), table 1, with the layers that they skip.

    Raises:
        ValueError: There is no preset of that name. The error names the nearest one.

    >>> found = preset("resnet56_b")
    >>> found.network, len(found.ratios), found.ratios["stage1_block1_conv1"]
    ('resnet56', 21, 0.6)
    """
    return PRESETS.get(name, "preset")


def _residual(depth: int, stages: tuple[float, ...], skipped: tuple[int, ...]) -> dict[str, float]:
    """The first convolution of each block, unless its number is skipped.

    The stem has the number 1, and block k, counted over all stages from 1, the numbers 2 k and
    2 k + 1.
    """
    blocks = (depth - 2) // 6
    return {
        f"stage{stage + 1}_block{block + 1}_conv1": ratio
        for stage, ratio in enumerate(stages)
        for block in range(blocks)
        if ratio and 2 * (stage * blocks + block + 1) not in skipped
    }


# The convolutions with the numbers 1 and 8 to 13.
_VGG = ("stage1_conv1", *(f"stage{stage}_conv{i}" for stage in (4, 5) for i in (1, 2, 3)))

PRESETS.register("vgg16_a")(Preset("vgg16_bn", dict.fromkeys(_VGG, 0.5), 0.342))
PRESETS.register("resnet56_a")(
    Preset("resnet56", _residual(56, (0.1, 0.1, 0.1), (16, 20, 38, 54)), 0.104)
)
PRESETS.register("resnet56_b")(
    Preset("resnet56", _residual(56, (0.6, 0.3, 0.1), (16, 18, 20, 34, 38, 54)), 0.276)
)
PRESETS.register("resnet110_a")(Preset("resnet110", _residual(110, (0.5, 0.0, 0.0), (36,)), 0.159))
PRESETS.register("resnet110_b")(
    Preset("resnet110", _residual(110, (0.5, 0.4, 0.3), (36, 38, 74)), 0.387)
)
