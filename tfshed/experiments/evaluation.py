"""Evaluates a finished run, or any `.keras` classifier of uint8 images, on some data."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfshed import datasets
from tfshed.attach.kernels import candidates
from tfshed.core.backend import to_numpy
from tfshed.experiments import from_recipe
from tfshed.experiments.initial_weights import FINAL
from tfshed.observe.run_directory import SETTINGS


def model_file(given: str | os.PathLike[str]) -> Path:
    """Returns the `.keras` file of a run directory, or the given file itself.

    Raises:
        FileNotFoundError: There is no such file, or the run is not finished.
    """
    path = Path(given).expanduser()
    found = path / FINAL if path.is_dir() else path
    if not found.is_file():
        raise FileNotFoundError(
            f"model: expected a .keras file or the directory of a finished run, received {given}: "
            f"{found} does not exist"
        )
    return found


def evaluate(
    model: str | os.PathLike[str],
    *,
    data: str | None = None,
    data_dir: str | None = None,
    split: str | None = None,
    batch_size: int = 128,
    fraction: float = 1.0,
) -> dict[str, Any]:
    """Returns loss and accuracy of a trained network, and its sparsity.

    Args:
        model: A run directory or a `.keras` file.
        data: The name of the data, for `tfshed.datasets.load`. Default None: the data of the run.
        data_dir: The folder in which tensorflow-datasets keeps its data.
        split: The split. Default None: the evaluation split of the data.
        batch_size: The number of images in a batch. Default 128.
        fraction: The fraction of the split to use, in (0, 1]. Default 1.

    Raises:
        FileNotFoundError: The model or the data do not exist.
        ValueError: The model and the data do not fit together.
    """
    file = model_file(model)
    recorded = file.parent / SETTINGS
    if data is None:
        if not recorded.is_file():
            raise ValueError(
                f"data: expected a name, since {file} is not in a run directory that records it; "
                "received None"
            )
        data = json.loads(recorded.read_text())["settings"]["config"]["data"]["name"]
    net = keras.saving.load_model(file, compile=False)
    size = net.input_shape[1]
    found = datasets.load(str(data), data_dir=data_dir, image_size=size)
    if tuple(net.input_shape[1:]) != tuple(found.image_shape):
        raise ValueError(
            f"data: expected images of {tuple(net.input_shape[1:])}, which {file} takes; received "
            f"{found.image_shape} of {data}"
        )
    if net.output_shape[-1] != found.classes:
        raise ValueError(
            f"data: expected {net.output_shape[-1]} classes, as {file} has; received "
            f"{found.classes} of {data}"
        )
    net.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=from_recipe.metrics(found.classes),
    )
    batches = found.evaluation(batch_size, split=split, fraction=fraction)
    metrics = net.evaluate(batches, verbose=0, return_dict=True)
    kernels = [to_numpy(c.kernel.variable) for c in candidates(net) if c.named_as_kernel]
    weights = sum(k.size for k in kernels)
    return {
        "model": str(file),
        "data": data,
        "split": split or found.eval_split,
        **{name: float(value) for name, value in metrics.items()},
        "parameters": int(net.count_params()),
        "kernel_weights": weights,
        "kernel_sparsity": 1 - sum(int(np.count_nonzero(k)) for k in kernels) / weights,
    }
