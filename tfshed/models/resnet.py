"""The residual networks that He et al. (2016, section 4.2) trained on CIFAR-10."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Literal

from tfshed.models.registry import register

Shortcut = Literal["A", "B"]

STAGES = 3


def resnet(
    depth: int,
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    width: int = 16,
    weight_decay: float = 0.0,
    name: str | None = None,
    seed: int | None = None,
    *,
    shortcut: Shortcut = "B",
    bn_momentum: float = 0.99,
    bn_epsilon: float = 1e-3,
) -> Any:
    """Builds the residual network that He et al. trained on CIFAR-10.

    It consists of a 3x3 convolution, three stages of `n = (depth - 2) / 6` blocks with `width`,
    `2 * width` and `4 * width` filters, global average pooling and a dense layer. The second and
    third stage halve height and width, rounding up. A block is conv-BN-ReLU-conv-BN, added to its
    shortcut, followed by ReLU. The network returns **logits**: use a loss with `from_logits=True`.

    Kernels are initialised with He's normal distribution (He et al. 2015). Convolutions have no
    bias.

    Args:
        depth: The number of layers with weights along the main path, `6 * n + 2`: 20, 32, 44, 56,
            110, ...
        input_shape: The shape of images as `(height, width, channels)`, without the batch. Any size
            from 1x1 on is possible, also an odd one; height and width may be `None`. Default
            (32, 32, 3).
        classes: The number of logits. Default 10.
        width: The number of filters of the first stage. Default 16.
        weight_decay: The `L2` factor of every kernel, that of the dense layer included:
            `weight_decay * sum(kernel ** 2)` is added to the loss. A decay d that papers add to the
            gradient is `weight_decay = d / 2` here. Default 0: no regularizer.
        name: The name of the model. Default None: `resnet<depth>`.
        seed: An int that makes the initial kernels reproducible. Default None: they depend on
            `keras.utils.set_random_seed`.
        shortcut: What a shortcut does where a stage changes the shape. `"B"` (default): a 1x1
            convolution and BatchNorm, as in the code of pruning papers (Renda et al. 2020). `"A"`:
            every second pixel, with the new channels padded by zeros, without parameters, as He et
            al. did on CIFAR-10.
        bn_momentum, bn_epsilon: The momentum and epsilon of every BatchNorm, `0 <= momentum < 1`
            and `epsilon > 0`. The defaults are those of Keras. If an epoch has few steps, a
            momentum of 0.99 averages over several epochs.

    Returns:
        A functional `keras.Model` from `(batch, height, width, channels)` to
        `(batch, classes)`. Layers are named `stem_conv`, `stage1_block1_conv1`,
        `stage1_block1_bn1`, ..., `stage2_block1_shortcut_conv`, `logits`.

    Raises:
        ValueError: The depth is not `6 * n + 2`, a width, a number of classes or a size is below 1,
            the shape does not have three sizes, the decay is negative, the shortcut is unknown, or
            a constant of BatchNorm is out of range.

    Example:
        >>> from tfshed import models
        >>> model = models.resnet(8, input_shape=(8, 8, 1), width=4)
        >>> model.output_shape
        (None, 10)
        >>> models.resnet(20).count_params()
        274042

    Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016.
    """
    shape = _checked(depth, input_shape, classes, width, weight_decay, shortcut)
    if not 0 <= bn_momentum < 1 or bn_epsilon <= 0:
        raise ValueError(
            "resnet: expected 0 <= bn_momentum < 1 and bn_epsilon > 0, received "
            f"bn_momentum={bn_momentum} and bn_epsilon={bn_epsilon}."
        )
    import keras

    make = _Layers(weight_decay, seed, {"momentum": bn_momentum, "epsilon": bn_epsilon})
    inputs = keras.Input(shape, name="image")
    x = make.conv(inputs, width, "stem", kernel=3)
    x = keras.layers.ReLU(name="stem_relu")(x)
    for stage in range(STAGES):
        for block in range((depth - 2) // 6):
            strides = 2 if stage > 0 and block == 0 else 1
            prefix = f"stage{stage + 1}_block{block + 1}"
            x = _block(make, x, width * 2**stage, strides, shortcut, prefix)
    x = keras.layers.GlobalAveragePooling2D(data_format="channels_last", name="pool")(x)
    outputs = keras.layers.Dense(classes, name="logits", **make.kernel())(x)
    return keras.Model(inputs, outputs, name=name or f"resnet{depth}")


def resnet20(**options: Any) -> Any:
    """`resnet(20, **options)`: about 0.27 million parameters on CIFAR-10.

    Example:
        >>> from tfshed import models
        >>> models.resnet20(classes=100).output_shape
        (None, 100)
    """
    return resnet(20, **options)


def resnet56(**options: Any) -> Any:
    """`resnet(56, **options)`: about 0.85 million parameters on CIFAR-10.

    Example:
        >>> from tfshed import models
        >>> models.resnet56().name
        'resnet56'
    """
    return resnet(56, **options)


def resnet110(**options: Any) -> Any:
    """`resnet(110, **options)`: about 1.7 million parameters on CIFAR-10.

    Example:
        >>> from tfshed import models
        >>> models.resnet110(shortcut="A").count_params()
        1736058
    """
    return resnet(110, **options)


def _checked(
    depth: int,
    input_shape: Sequence[int],
    classes: int,
    width: int,
    weight_decay: float,
    shortcut: str,
) -> tuple[int, ...]:
    """Checks the arguments before anything is built, and returns the shape as a tuple."""
    if depth < 8 or (depth - 2) % 6:
        nearest = max(8, 6 * round((depth - 2) / 6) + 2)
        raise ValueError(
            f"resnet: expected a depth of 6n + 2 with n >= 1 (8, 14, 20, ...), received {depth}. "
            f"The nearest is {nearest}."
        )
    for what, value in (("width", width), ("classes", classes)):
        if value < 1:
            raise ValueError(
                f"resnet: expected {what} >= 1, received {value}. Give a positive number."
            )
    shape = tuple(input_shape)
    if len(shape) != 3:
        raise ValueError(
            "resnet: expected an input_shape of three numbers (height, width, channels), without "
            f"the batch, received {shape}. A grey image has one channel: (28, 28, 1)."
        )
    if shape[2] is None or any(size is not None and size < 1 for size in shape):
        raise ValueError(
            "resnet: expected height, width and channels >= 1 (height and width may be None), "
            f"received {shape}. Give the size of one image, channels last."
        )
    if weight_decay < 0:
        raise ValueError(
            f"resnet: expected weight_decay >= 0, received {weight_decay}. "
            "It is an L2 factor such as 1e-4; 0 adds none."
        )
    if shortcut not in ("A", "B"):
        raise ValueError(
            "resnet: expected shortcut 'A' (zero padding) or 'B' (1x1 projection), received "
            f"{shortcut!r}. Choose one of the two."
        )
    return shape


class _Layers:
    """Makes the layers of one network, whose kernels share initialiser and regularizer."""

    def __init__(self, weight_decay: float, seed: int | None, batch_norm: dict[str, float]) -> None:
        self._weight_decay = weight_decay
        self._batch_norm = batch_norm
        self._seed = seed
        self._made = 0

    def kernel(self) -> dict[str, Any]:
        """The arguments of the next kernel."""
        import keras

        # With the same seed, kernels of the same shape would get the same initial values.
        seed = None if self._seed is None else self._seed + self._made
        self._made += 1
        decay = keras.regularizers.L2(self._weight_decay) if self._weight_decay else None
        return {
            "kernel_initializer": keras.initializers.HeNormal(seed=seed),
            "kernel_regularizer": decay,
        }

    def conv(
        self, x: Any, filters: int, prefix: str, kernel: int, strides: int = 1, suffix: str = ""
    ) -> Any:
        """Applies a convolution without bias, and BatchNorm."""
        import keras

        # Channels are last whatever the user's Keras config says, since input_shape is read so.
        x = keras.layers.Conv2D(
            filters,
            kernel,
            strides=strides,
            padding="same",
            data_format="channels_last",
            use_bias=False,
            name=f"{prefix}_conv{suffix}",
            **self.kernel(),
        )(x)
        return keras.layers.BatchNormalization(
            axis=-1, name=f"{prefix}_bn{suffix}", **self._batch_norm
        )(x)


def _block(
    make: _Layers, x: Any, filters: int, strides: int, shortcut: Shortcut, prefix: str
) -> Any:
    """Applies a residual block: conv-BN-ReLU-conv-BN, added to the shortcut, and ReLU."""
    import keras

    y = make.conv(x, filters, prefix, kernel=3, strides=strides, suffix="1")
    y = keras.layers.ReLU(name=f"{prefix}_relu1")(y)
    y = make.conv(y, filters, prefix, kernel=3, suffix="2")
    # Only the first block of stages 2 and 3 changes the shape. Stage 1 has the width of the stem.
    if strides != 1:
        if shortcut == "B":
            x = make.conv(x, filters, f"{prefix}_shortcut", kernel=1, strides=strides)
        else:
            x = _zero_padded(x, filters, strides, f"{prefix}_shortcut")
    y = keras.layers.Add(name=f"{prefix}_add")([x, y])
    return keras.layers.ReLU(name=f"{prefix}_relu2")(y)


def _zero_padded(x: Any, filters: int, strides: int, name: str) -> Any:
    """The shortcut "A": every `strides`-th pixel, and zeros for the channels that are missing."""
    import keras

    # Pooling of one pixel takes every `strides`-th pixel. "same" rounds odd sizes up, as the
    # convolutions on the main path do.
    x = keras.layers.MaxPooling2D(
        1, strides, padding="same", data_format="channels_last", name=f"{name}_pool"
    )(x)
    missing = filters - x.shape[-1]
    # ZeroPadding2D can pad height and width only. With data_format="channels_first" it takes our
    # axes (batch, height, width, channels) for (batch, channels, height, width), and so pads our
    # channels as its width.
    return keras.layers.ZeroPadding2D(
        ((0, 0), (missing // 2, missing - missing // 2)),
        data_format="channels_first",
        name=f"{name}_pad",
    )(x)


# "resnet50" is the network of keras.applications.
for _depth in (8, 14, 20, 26, 32, 38, 44, 56, 62, 110):
    register(f"resnet{_depth}", options=("width", "bn_momentum", "bn_epsilon", "shortcut"))(
        functools.partial(resnet, _depth)
    )
