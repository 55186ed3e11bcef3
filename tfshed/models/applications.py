"""Registers the networks of keras.applications that papers on pruning use."""

from __future__ import annotations

from typing import Any

import keras

from tfshed.models.registry import register

MOBILE = ("alpha", "minimalistic", "dropout_rate")
# Each entry has the name here, the name in keras.applications, the mode of its `preprocess_input`,
# and other arguments of `register`.
APPLICATIONS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("resnet50", "ResNet50", "caffe", {}),
    ("vgg16", "VGG16", "caffe", {"fixed_head": True}),
    ("inception_v3", "InceptionV3", "tf", {"least": 75, "size": 299}),
    ("efficientnet_b0", "EfficientNetB0", "torch", {}),
    ("mobilenet_v3_large", "MobileNetV3Large", "tf", {"options": MOBILE}),
    ("mobilenet_v3_small", "MobileNetV3Small", "tf", {"options": MOBILE}),
    ("convnext_tiny", "ConvNeXtTiny", "torch", {}),
)


def _register(name: str, function: str, mode: str, details: dict[str, Any]) -> None:
    @register(name, **{"preprocessing": "imagenet", "mode": mode, "least": 32, **details})
    def make(
        input_shape: tuple[int, ...],
        classes: int,
        weights: str | None = None,
        include_top: bool = True,
        **options: Any,
    ) -> Any:
        return getattr(keras.applications, function)(
            input_shape=input_shape,
            classes=classes,
            weights=weights,
            include_top=include_top,
            classifier_activation=None,
            **options,
        )


for _each in APPLICATIONS:
    _register(*_each)
