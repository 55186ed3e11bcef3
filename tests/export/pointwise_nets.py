"""Small nets of 1x1 and depthwise convolutions: those that XNNPACK runs sparse, and near misses."""

from __future__ import annotations

import keras

import tfshed

L = keras.layers
SHAPE = (16, 16, 3)
# Layers whose kernels are pruned; `head` is behind the pooling.
POINTS = "point|squeeze|excite"


def start(shape=SHAPE, **options):
    """Inputs, and the first convolution as XNNPACK wants it."""
    inputs = keras.Input(shape, name="image")
    options = {"strides": 2, "activation": "relu", **options}
    return inputs, L.Conv2D(8, 3, name="first", **options)(L.ZeroPadding2D(1)(inputs))


def deep(x, number, strides=1, size=3, **options):
    """A depthwise convolution; padded by a layer of its own, as XNNPACK wants it for strides."""
    options = {"activation": "relu", "bias_initializer": "normal", **options}
    if strides == 2 and options.pop("padded", True):
        x = L.ZeroPadding2D(size // 2)(x)
        options["padding"] = "valid"
    options.setdefault("padding", "same")
    return L.DepthwiseConv2D(size, strides=strides, name=f"deep{number}", **options)(x)


def point(x, number, width, **options):
    options = {"activation": "relu", "bias_initializer": "normal", **options}
    return L.Conv2D(width, 1, name=f"point{number}", **options)(x)


def pooled(x):
    return L.Dense(10, name="head")(L.GlobalAveragePooling2D()(x))


def v1():
    """As MobileNetV1: depthwise and 1x1 convolutions in turn."""
    inputs, x = start()
    for number, (width, strides) in enumerate(((16, 1), (32, 2), (32, 1))):
        x = point(deep(x, number, strides), number, width)
    return keras.Model(inputs, pooled(x))


def v2():
    """As MobileNetV2: 1x1, depthwise, 1x1, added to what came in; normalisation, no biases."""
    inputs, x = start()
    number = 0
    for width, strides in ((16, 2), (16, 1), (16, 1)):
        y = point(x, number, 2 * width, activation=None, use_bias=False)
        y = L.ReLU()(L.BatchNormalization()(y))
        y = deep(y, number + 1, strides, activation="relu")
        y = point(y, number + 1, width, activation=None)
        x = L.Add()([x, y]) if strides == 1 else y
        number += 2
    return keras.Model(inputs, pooled(point(x, number, 32)))


def five_by_five():
    inputs, x = start()
    x = point(deep(x, 0, 2, size=5), 0, 16)
    x = L.Activation("sigmoid")(point(deep(x, 1, size=5), 1, 32, activation=None))
    return keras.Model(inputs, pooled(x))


def dense_over_channels():
    """1x1 convolutions written as dense layers, with and without a bias and an activation."""
    inputs, x = start()
    x = L.Dense(16, activation="relu", bias_initializer="normal", name="point0")(deep(x, 0))
    x = L.Dense(32, use_bias=False, name="point1")(deep(x, 1, 2))
    return keras.Model(inputs, pooled(point(L.ReLU()(x), 2, 32)))


def resized():
    inputs, x = start()
    x = point(deep(x, 0, 2), 0, 16)
    x = L.UpSampling2D(2, interpolation="bilinear")(x)
    return keras.Model(inputs, pooled(point(deep(x, 1), 1, 32)))


def ends_in_convolution():
    """What tfmot's policy asks for, and what does not load without the RESHAPE."""
    inputs, x = start()
    x = point(deep(x, 0), 0, 16)
    x = L.GlobalAveragePooling2D(keepdims=True)(point(deep(x, 1), 1, 32))
    return keras.Model(inputs, L.Conv2D(10, 1, name="head")(x))


def ends_in_softmax():
    inputs, x = start()
    x = L.GlobalAveragePooling2D()(point(deep(x, 0), 0, 32))
    return keras.Model(inputs, L.Dense(10, activation="softmax", name="head")(x))


def large_head():
    """The dense layer behind the pooling has most of the weights, and none of them is zero."""
    inputs, x = start()
    x = L.GlobalAveragePooling2D()(point(deep(x, 0), 0, 32))
    return keras.Model(inputs, L.Dense(100, name="head")(x))


def gates():
    """As MobileNetV3: each block weighs its channels by what a pooling of them gives."""
    inputs, x = start()
    for number, width in ((0, 16), (1, 32)):
        x = deep(x, number)
        weight = L.GlobalAveragePooling2D(keepdims=True)(x)
        weight = L.Conv2D(8, 1, activation="relu", name=f"squeeze{number}")(weight)
        weight = L.Conv2D(x.shape[-1], 1, activation="sigmoid", name=f"excite{number}")(weight)
        x = point(L.Multiply()([x, weight]), number, width)
    return keras.Model(inputs, pooled(x))


def pooled_gate():
    """Without convolutions of its own: a pooling, a sigmoid and a multiplication."""
    inputs, x = start()
    x = deep(x, 0)
    weight = L.Activation("sigmoid")(L.GlobalAveragePooling2D(keepdims=True)(x))
    return keras.Model(inputs, pooled(point(L.Multiply()([x, weight]), 0, 64)))


def start_without_padding():
    inputs = keras.Input(SHAPE, name="image")
    x = L.Conv2D(8, 3, strides=2, padding="same", activation="relu")(inputs)
    return keras.Model(inputs, pooled(point(deep(x, 0), 0, 32)))


def strides_without_padding():
    inputs, x = start()
    return keras.Model(inputs, pooled(point(deep(x, 0, 2, padded=False), 0, 32)))


def joined():
    inputs, x = start()
    x = L.Concatenate()([point(x, 0, 16), point(x, 1, 16)])
    return keras.Model(inputs, pooled(point(deep(x, 2), 2, 32)))


def maximum_pooled():
    inputs, x = start()
    x = L.MaxPooling2D(2)(point(deep(x, 0), 0, 16))
    return keras.Model(inputs, pooled(point(deep(x, 1), 1, 32)))


def two_outputs():
    inputs, x = start()
    x = point(deep(x, 0), 0, 16)
    return keras.Model(inputs, {"early": x, "late": pooled(point(deep(x, 1), 1, 32))})


def as_resnet():
    """3x3 convolutions inside, 1x1 ones only in the shortcut."""
    inputs, x = start()
    y = L.Conv2D(64, 3, padding="same", activation="relu")(x)
    return keras.Model(inputs, pooled(L.Add()([y, point(x, 0, 64)])))


SPARSE = (
    v1,
    v2,
    five_by_five,
    dense_over_channels,
    resized,
    ends_in_convolution,
    ends_in_softmax,
    large_head,
)
DENSE = (
    gates,
    pooled_gate,
    start_without_padding,
    strides_without_padding,
    joined,
    maximum_pooled,
    two_outputs,
    as_resnet,
)


def pruned(make, sparsity=0.8, **options):
    """The net with every 1x1 convolution pruned."""
    keras.utils.set_random_seed(0)
    return tfshed.sparsify(make(), sparsity, select=POINTS, scope="layer", **options)
