"""Which models can be written in which format: a table for docs/export.md.

    python benchmarks/export_zoo.py [NAME ...]

Small models of many kinds are pruned to 80 % and written in each format, whose own check compares
the outputs (of SavedModels to the bit). Prints a table in Markdown: "yes", or "no" with the number
of a reason below the table. Models of KerasHub are among them if it is installed (`pip install
keras-hub`).
"""

from __future__ import annotations

import importlib.util
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import keras

import tfshed
from tfshed.models.resnet import resnet
from tfshed.models.sparse_mobilenet import inverted_residuals, sparse_mobilenet_v1

L = keras.layers
IMAGE = (32, 32, 3)


def stack(shape, *layers):
    return keras.Sequential([keras.Input(shape), *layers])


def squeeze_and_excitation():
    inputs = keras.Input(IMAGE)
    x = L.Conv2D(32, 3, strides=2, activation="silu")(L.ZeroPadding2D(1)(inputs))
    gate = L.Conv2D(8, 1, activation="silu")(L.GlobalAveragePooling2D(keepdims=True)(x))
    x = L.Multiply()([x, L.Conv2D(32, 1, activation="sigmoid")(gate)])
    return keras.Model(inputs, L.Dense(10)(L.GlobalAveragePooling2D()(x)))


def densely_connected():
    x = inputs = keras.Input(IMAGE)
    for _ in range(3):
        x = L.Concatenate()([x, L.Conv2D(16, 3, padding="same", activation="relu")(x)])
    return keras.Model(inputs, L.Dense(10)(L.GlobalAveragePooling2D()(x)))


def transformer():
    inputs = keras.Input((16, 32))
    x = inputs + L.MultiHeadAttention(2, 16)(inputs, inputs)
    x = x + L.Dense(32)(L.Dense(64, activation="gelu")(L.LayerNormalization()(x)))
    return keras.Model(inputs, L.Dense(10)(L.GlobalAveragePooling1D()(x)))


def embedded():
    return stack((16,), L.Embedding(100, 32), L.GlobalAveragePooling1D(), L.Dense(10))


def lookup():
    words = keras.Input((4,), dtype="string", name="words")
    numbers = L.StringLookup(vocabulary=[f"w{i}" for i in range(50)])(words)
    return keras.Model(words, L.Dense(10)(L.Flatten()(L.Embedding(51, 32)(numbers))))


def text():
    split = L.TextVectorization(max_tokens=20, output_sequence_length=6)
    split.adapt(["a b c d", "e f g"])
    words = keras.Input((), dtype="string")
    x = L.GlobalAveragePooling1D()(L.Embedding(20, 16)(split(words)))
    return keras.Model(words, L.Dense(10)(x))


def mixed():
    return stack((64,), L.Dense(64, dtype="mixed_float16"), L.Dense(10, dtype="float32"))


SMALL = {"vocabulary_size": 30, "num_layers": 1, "hidden_dim": 16, "intermediate_dim": 32}


def hub(name: str, **options):
    """A small, untrained model of KerasHub, as a net of its backbone and a head."""
    import keras_hub

    backbone = getattr(keras_hub.models, f"{name}Backbone")(**options)
    found = backbone(backbone.input)
    x = found["sequence_output"] if isinstance(found, dict) else found
    x = L.GlobalAveragePooling1D()(x)
    return keras.Model(backbone.input, L.Dense(2, name="head")(x))


def places(model):
    """The inputs of a model of KerasHub with a fixed number of places, which LiteRT needs."""
    return [{key: keras.InputSpec(shape=(1, 8), dtype="int32") for key in model.input}]


ZOO: dict[str, Callable[[], keras.Model]] = {
    "dense layers": lambda: stack((64,), L.Dense(128, activation="relu"), L.Dense(10)),
    "ResNet": lambda: resnet(8, IMAGE, 10),
    "DenseNet": densely_connected,
    "MobileNetV1": lambda: sparse_mobilenet_v1(IMAGE, 10, width=0.1),
    "MobileNetV3 without gates": lambda: inverted_residuals(
        "sparse_mobilenet_v3_small", IMAGE, 10, width=0.25
    ),
    "MobileNetV1 of `keras.applications`": lambda: keras.applications.MobileNet(
        IMAGE, alpha=0.25, weights=None, classes=10
    ),
    "MobileNetV3 of `keras.applications`": lambda: keras.applications.MobileNetV3Small(
        IMAGE, alpha=0.35, weights=None, classes=10
    ),
    "squeeze-and-excitation, silu (EfficientNet)": squeeze_and_excitation,
    "Transformer (ViT, BERT)": transformer,
    "Embedding": embedded,
    "LSTM": lambda: stack((12, 8), L.LSTM(32), L.Dense(10)),
    "GRU": lambda: stack((12, 8), L.GRU(32), L.Dense(10)),
    "ConvLSTM": lambda: stack((4, 8, 8, 3), L.ConvLSTM2D(8, 3), L.Flatten(), L.Dense(10)),
    "StringLookup": lookup,
    "TextVectorization": text,
    "mixed_float16": mixed,
    "quantized by `model.quantize`": lambda: stack((64,), L.Dense(64), L.Dense(10)),
}
GROUPED = {"num_query_heads": 2, "num_key_value_heads": 1}
HUB: dict[str, Callable[[], keras.Model]] = {
    "BERT": lambda: hub("Bert", num_heads=2, max_sequence_length=8, **SMALL),
    "GPT-2": lambda: hub("GPT2", num_heads=2, max_sequence_length=8, **SMALL),
    "Llama": lambda: hub("Llama", **GROUPED, **SMALL),
    "Gemma": lambda: hub("Gemma", head_dim=8, **GROUPED, **SMALL),
}
ZOO |= {f"{name} of KerasHub": make for name, make in HUB.items()}
RECURRENT = ("LSTM", "GRU", "ConvLSTM")
FORMATS = {
    "`saved_model`": lambda model, path, _: tfshed.export.saved_model(model, path),
    "`keras`": lambda model, path, _: tfshed.export.keras(model, path.with_suffix(".keras")),
    "`litert`": lambda model, path, more: tfshed.export.litert(model, path, **more),
    "`litert`, float16": lambda model, path, more: tfshed.export.litert(
        model, path, values="float16", **more
    ),
    "`litert`, int8": lambda model, path, more: tfshed.export.litert(
        model, path, values="int8", **more
    ),
}


def reason(error: Exception) -> str:
    """What an error says, in one line without names that Keras counts up."""
    text = str(error).strip().partition("\n")[0].removeprefix("export: ")
    return re.sub(r"'(\w+?)_\d+'", r"'\1'", text)


def main() -> None:
    reasons: list[str] = []
    print(f"| model | {' | '.join(FORMATS)} |\n|---|{'---|' * len(FORMATS)}")
    with_hub = importlib.util.find_spec("keras_hub") is not None
    for name in sys.argv[1:] or ZOO:
        if "KerasHub" in name and not with_hub:
            print(f"{name} is left out: pip install keras-hub", file=sys.stderr)
            continue
        keras.utils.set_random_seed(0)
        model = tfshed.sparsify(ZOO[name](), 0.8)
        if "quantize" in name:
            model.quantize("int8")
        cells = []
        for write in FORMATS.values():
            more: dict[str, object] = {"batch_size": 1} if name in RECURRENT else {}
            if "KerasHub" in name:
                more = {"input_signature": places(model)}
            with tempfile.TemporaryDirectory() as folder:
                try:
                    write(model, Path(folder, "model"), more)
                    cells.append("yes")
                except (RuntimeError, ValueError, TypeError) as error:
                    if reason(error) not in reasons:
                        reasons.append(reason(error))
                    cells.append(f"no ({reasons.index(reason(error)) + 1})")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    for number, why in enumerate(reasons, 1):
        print(f"\n({number}) {why}")


if __name__ == "__main__":
    main()
