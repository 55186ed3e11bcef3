"""What pruning papers left of VGG-16 and ResNet-50 on ImageNet, to be trained anew."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import keras

from tfshed.models.registry import register

# Filters of the 13 convolutions, and whether the dense layers of VGG-16 follow them. Without these,
# the last stage is not pooled but averaged as a whole.
VGG = {
    "thinet_vgg16_conv": ((32, 32, 64, 64, 128, 128, 128, 256, 256, 256, 512, 512, 512), True),
    "thinet_vgg16_gap": ((32, 32, 64, 64, 128, 128, 128, 256, 256, 256, 512, 512, 512), False),
    "thinet_vgg16_tiny": ((16, 16, 32, 32, 64, 64, 64, 128, 128, 128, 128, 128, 256), False),
    "regression_vgg16_5x": ((24, 22, 41, 51, 108, 89, 111, 184, 276, 228, 512, 512, 512), True),
}
COUNTS = (2, 2, 3, 3, 3)

# For each stage of ResNet-50 the filters of the first two convolutions of its blocks, with the
# number of channels that the block reads where it does not read all; None: only its shortcut.
Block = tuple[int, ...] | None
BLOCKS = (3, 4, 6, 3)


def _uniform(*widths: int) -> list[list[Block]]:
    return [[(width, width)] * count for width, count in zip(widths, BLOCKS)]


def _whole_blocks(*kept: tuple[int, bool]) -> list[list[Block]]:
    """So many blocks of each stage, and whether the first one is among them."""
    stages: list[list[Block]] = []
    for stage, (count, first) in enumerate(kept):
        width = 64 * 2**stage
        some: list[Block] = [] if first else [None]
        stages.append([*some, *[(width, width)] * count])
    return stages


_TWICE = (
    *((35, 64, 55), (101, 51, 39), (97, 50, 37)),
    *((144, 128, 106), (205, 105, 72), (198, 105, 72), (288, 128, 110)),
    *((278, 256, 225), (418, 209, 147), (407, 204, 158), (423, 212, 155), (412, 211, 148)),
    *((595, 256, 213), (606, 512, 433), (1222, 512, 437), (1147, 512, 440)),
)
RESNET: dict[str, list[list[Block]]] = {
    "thinet_resnet50_30": _uniform(19, 38, 76, 153),
    "thinet_resnet50_50": _uniform(32, 64, 128, 256),
    "thinet_resnet50_70": _uniform(44, 89, 179, 358),
    "regression_resnet50_2x": [
        [(b, c, a) for a, b, c in _TWICE[sum(BLOCKS[:i]) : sum(BLOCKS[: i + 1])]] for i in range(4)
    ],
    "sss_resnet41": _whole_blocks((0, False), (4, True), (6, True), (3, True)),
    "sss_resnet32": _whole_blocks((1, False), (4, True), (4, True), (1, True)),
    "sss_resnet26": _whole_blocks((0, False), (2, False), (5, False), (1, True)),
}
# The epochs of Scratch-E and Scratch-B in the code of Liu et al. 2019. On ImageNet, twice the
# epochs are the most.
SCRATCH = {
    **dict.fromkeys((*VGG, *RESNET), (90, 180)),
    "thinet_resnet50_70": (90, 141),
    "regression_resnet50_2x": (90, 132),
    "sss_resnet41": (100, 117),
    "sss_resnet32": (100, 145),
    "sss_resnet26": (100, 179),
}


def vgg16(
    name: str, input_shape: Sequence[int], classes: int, *, weights: Any = None, **options: Any
) -> Any:
    """Builds one of `VGG`: 3x3 convolutions with bias and ReLU; it returns logits.

    >>> vgg16("thinet_vgg16_tiny", (64, 64, 3), 10).output_shape
    (None, 10)

    Source: ThiNet (Luo et al. 2017, arXiv 1707.06342); channel pruning by regression (He et al.
    2017, arXiv 1707.06168); widths as in the code of Liu et al. 2019 (arXiv 1810.05270).
    """
    _no_weights(name, weights)
    filters, dense = VGG[name]
    inputs = x = keras.Input(input_shape)
    place = iter(filters)
    for stage, count in enumerate(COUNTS):
        for i in range(count):
            x = keras.layers.Conv2D(
                next(place),
                3,
                padding="same",
                activation="relu",
                kernel_initializer="he_normal",
                name=f"stage{stage + 1}_conv{i + 1}",
            )(x)
        if stage < 4 or dense:
            x = keras.layers.MaxPooling2D(2, padding="same", name=f"stage{stage + 1}_pool")(x)
    if dense:
        x = keras.layers.Flatten(name="flatten")(x)
        for i in (1, 2):
            x = keras.layers.Dense(4096, "relu", name=f"hidden{i}")(x)
            x = keras.layers.Dropout(0.5, name=f"dropout{i}")(x)
    else:
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="logits")(x))


def resnet50(
    name: str, input_shape: Sequence[int], classes: int, *, weights: Any = None, **options: Any
) -> Any:
    """Builds one of `RESNET`: bottleneck blocks that halve in their 3x3 convolution; logits.

    Where a block of "regression_resnet50_2x" reads some of its channels only, these are the first
    ones. The blocks that sparse structure selection leaves ("sss_...") are built in this form, too,
    while its authors' are with pre-activation.

    >>> resnet50("sss_resnet26", (32, 32, 3), 10).output_shape
    (None, 10)

    Source: ThiNet (Luo et al. 2017, arXiv 1707.06342); channel pruning by regression (He et al.
    2017, arXiv 1707.06168); sparse structure selection (Huang & Wang 2018, arXiv 1707.01213);
    widths and blocks as in the code of Liu et al. 2019 (arXiv 1810.05270).
    """
    _no_weights(name, weights)

    def conv(x: Any, count: int, size: int, strides: int, name: str, relu: bool = True) -> Any:
        x = keras.layers.Conv2D(
            count,
            size,
            strides=strides,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"{name}_conv",
        )(x)
        x = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn")(x)
        return keras.layers.ReLU(name=f"{name}_relu")(x) if relu else x

    inputs = keras.Input(input_shape)
    x = conv(inputs, 64, 7, 2, "stem")
    x = keras.layers.MaxPooling2D(3, 2, padding="same", name="stem_pool")(x)
    for stage, blocks in enumerate(RESNET[name]):
        out = 256 * 2**stage
        for i, block in enumerate(blocks):
            prefix = f"stage{stage + 1}_block{i + 1}"
            strides = 2 if stage and not i else 1
            shortcut = x if i else conv(x, out, 1, strides, f"{prefix}_shortcut", relu=False)
            if block is None:
                x = keras.layers.ReLU(name=f"{prefix}_relu")(shortcut)
                continue
            y = x[..., : block[2]] if len(block) > 2 else x
            y = conv(y, block[0], 1, 1, f"{prefix}_1")
            y = conv(y, block[1], 3, strides, f"{prefix}_2")
            y = conv(y, out, 1, 1, f"{prefix}_3", relu=False)
            x = keras.layers.Add(name=f"{prefix}_add")([shortcut, y])
            x = keras.layers.ReLU(name=f"{prefix}_relu")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="logits")(x))


def _no_weights(name: str, weights: Any) -> None:
    if weights is not None:
        raise ValueError(
            f"weights: expected None or a file, received {weights!r}: {name} was not published with"
            " weights in Keras' format, and is trained anew"
        )


for _make, _names in ((vgg16, VGG), (resnet50, RESNET)):
    for _name in _names:
        register(_name, preprocessing="imagenet", mode="torch", least=32)(
            functools.partial(_make, _name)
        )
