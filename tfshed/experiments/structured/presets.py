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
        flops_cut: The fraction of multiply-adds that is removed.
        scratch_b: The epochs of Scratch-B, for 160 of training, as Liu et al. 2019 publish them;
            None if they do not.
    """

    network: str
    ratios: Mapping[str, float]
    flops_cut: float
    scratch_b: int | None = None


PRESETS: Registry[Preset] = Registry("preset")


def preset(name: str) -> Preset:
    """The filter pruning of that name.

    Args:
        name: "vgg16_a", "resnet56_a", "resnet56_b", "resnet110_a" or "resnet110_b" of Li et al.
            2017 (arXiv 1608.08710), table 1, with the layers that they skip; or "resnet110_c",
            "resnet110_d", "resnet110_i", "resnet56_c", "resnet56_d", "resnet56_i", "vgg16_b" or
            "vgg16_c" of the code of Le & Hua 2021, whose fractions were computed here.

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


def _vgg(*widths: int) -> dict[str, float]:
    """The ratios that leave so many filters of each of the 13 convolutions."""
    counts, names = (2, 2, 3, 3, 3), (64, 128, 256, 512, 512)
    layers = [(stage, i) for stage, count in enumerate(counts) for i in range(count)]
    return {
        f"stage{stage + 1}_conv{i + 1}": 1 - width / names[stage]
        for (stage, i), width in zip(layers, widths)
        if width != names[stage]
    }


_SKIPPED_56, _SKIPPED_110 = (16, 18, 20, 34, 38, 54), (36, 38, 74)
for _name, _preset in {
    "vgg16_a": Preset(
        "vgg16_bn",
        _vgg(32, 64, 128, 128, 256, 256, 256, 256, 256, 256, 256, 256, 256),
        0.342,
        243,
    ),
    "vgg16_b": Preset(
        "vgg16_bn", _vgg(32, 64, 128, 128, 196, 196, 196, 196, 196, 256, 256, 256, 256), 0.488
    ),
    "vgg16_c": Preset(
        "vgg16_bn", _vgg(32, 64, 64, 128, 128, 128, 128, 196, 196, 196, 196, 196, 196), 0.696
    ),
    "resnet56_a": Preset("resnet56", _residual(56, (0.1, 0.1, 0.1), (16, 20, 38, 54)), 0.104, 178),
    "resnet56_b": Preset("resnet56", _residual(56, (0.6, 0.3, 0.1), _SKIPPED_56), 0.276, 220),
    "resnet56_c": Preset("resnet56", _residual(56, (0.6, 0.5, 0.4), _SKIPPED_56), 0.403),
    "resnet56_d": Preset("resnet56", _residual(56, (0.6, 0.6, 0.6), _SKIPPED_56), 0.489),
    "resnet56_i": Preset("resnet56", _residual(56, (0.1, 0.15, 0.2), ()), 0.1605),
    "resnet110_a": Preset("resnet110", _residual(110, (0.5, 0.0, 0.0), (36,)), 0.159, 190),
    "resnet110_b": Preset("resnet110", _residual(110, (0.5, 0.4, 0.3), _SKIPPED_110), 0.387, 260),
    "resnet110_c": Preset("resnet110", _residual(110, (0.5, 0.5, 0.5), _SKIPPED_110), 0.476),
    "resnet110_d": Preset("resnet110", _residual(110, (0.5, 0.6, 0.7), _SKIPPED_110), 0.580),
    "resnet110_i": Preset("resnet110", _residual(110, (0.1, 0.15, 0.2), ()), 0.161),
}.items():
    PRESETS.register(_name)(_preset)
