"""Wrong labels for a part of the training examples, the same ones in every run."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfshed import datasets
from tfshed.experiments import Run, Settings, recipe


def labels(data, split):
    batches = data.evaluation(500, split=split)
    parts = [keras.ops.convert_to_numpy(labels) for _, labels in batches]
    return np.concatenate(parts)


@pytest.mark.backend
def test_label_noise_is_fixed_and_leaves_what_is_evaluated():
    clean = datasets.load("digits")
    noisy = clean.with_label_noise(0.3)
    before, after = labels(clean, "train"), labels(noisy, "train")
    assert np.mean(before != after) == pytest.approx(0.3, abs=1e-3)
    assert set(after) == set(range(10))
    np.testing.assert_array_equal(labels(clean, "test"), labels(noisy, "test"))
    np.testing.assert_array_equal(after, labels(clean.with_label_noise(0.3), "train"))
    assert (after != labels(clean.with_label_noise(0.3, seed=1), "train")).any()
    assert clean.fingerprint()["train"] != noisy.fingerprint()["train"]
    assert clean.fingerprint()["test"] == noisy.fingerprint()["test"]
    assert noisy.examples == clean.examples


def test_what_is_held_out_keeps_its_labels(tmp_path):
    config = recipe()
    config.model.name, config.train.epochs = "lenet_300_100", 1
    config.data.held_out, config.data.label_noise = 0.1, 0.5
    run = Run(Settings("train", config, tmp_path))
    clean = datasets.load("digits").with_held_out(0.1)
    np.testing.assert_array_equal(labels(run.data, "held_out"), labels(clean, "held_out"))
    differ = labels(run.data, "train") != labels(clean, "train")
    assert differ.mean() == pytest.approx(0.5, abs=1e-3)
    config.data.label_noise = 1.0
    with pytest.raises(ValueError, match=r"config.data.label_noise: expected a number in \[0, 1\)"):
        Run(Settings("train", config, tmp_path))


def test_label_noise_needs_classes_and_data_in_memory(places):
    with pytest.raises(ValueError, match="label_noise: expected a fraction below 1"):
        datasets.load("digits").with_label_noise(1)
    with pytest.raises(ValueError, match="fraction: expected a number above 0"):
        datasets.load("digits").with_label_noise(-0.1)
    streamed = datasets.load(**places["cifar10"], cache=False)
    with pytest.raises(ValueError, match="label_noise: expected data held in memory"):
        streamed.with_label_noise(0.3)
