"""tfshed.retrain: strategies on a model and data of one's own."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tfshed
from tfshed.experiments.retraining.fresh_weights import fresh_weights, sparse_fresh_weights
from tfshed.experiments.retraining.masks import masked, masks_of
from tfshed.experiments.retraining.strategies import STRATEGIES
from tfshed.learning_rates import MultiStep

pytestmark = pytest.mark.backend

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 6)).astype("float32")
Y = RNG.integers(0, 3, 64)
RATE = MultiStep((0.1, 0.01), (3,), steps_per_epoch=4)
GIVEN = {
    "training_rate": RATE,
    "training_epochs": 4,
    "steps_per_epoch": 4,
    "batch_size": 16,
    "verbose": 0,
}


def trained():
    net = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(8, "relu", kernel_initializer=keras.initializers.HeNormal(seed=3)),
            keras.layers.Dense(3, name="head"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.SGD(RATE, momentum=0.9), loss, metrics=["accuracy"])
    kept = tfshed.KeepEpochs((0, 2))
    net.fit(X, Y, batch_size=16, epochs=4, verbose=0, callbacks=[kept])
    return net, kept.weights


class First(keras.callbacks.Callback):
    """The weights before the first step, and the rate of every step."""

    def on_train_begin(self, logs=None):
        self.weights, self.rates = self.model.get_weights(), []

    def on_train_batch_end(self, batch, logs=None):
        self.rates.append(float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_weights_masks_and_epochs_of_every_strategy(strategy):
    net, kept = trained()
    last = net.get_weights()
    tfshed.sparsify(net, 0.75)
    masks = masks_of(net)
    net.set_weights(last)
    how = STRATEGIES.get(strategy)
    early = {"rewound": kept[2], "initial": kept[0]}.get(how.weights)
    first = First()
    (history,) = tfshed.retrain(
        net,
        strategy,
        X,
        Y,
        **GIVEN,
        sparsity=0.75,
        epochs=2 if how.epochs == "given" else None,
        weights=early,
        callbacks=[first],
    )
    assert len(history.epoch) == {"given": 2, "training": 4, "budget": 16}[how.epochs]
    if how.weights == "trained":
        wanted = masked(last, masks)
    elif early is not None:
        wanted = masked(early, masks)
    else:
        seed = 1_000_003
        wanted = fresh_weights(net, seed)
        assert not np.array_equal(wanted[0], kept[0][0])
        if how.weights == "sparse_fresh":
            wanted = sparse_fresh_weights(net, wanted, masks, seed)
        wanted = masked(wanted, masks)
    for a, b in zip(first.weights, wanted, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, mask in zip(net.get_weights(), masks):
        if mask is not None:
            assert not a[~mask].any()
    assert not isinstance(net.optimizer, tfshed.PruningOptimizer)
    expected = {"fine_tune": 0.01, "rewind": 0.1, "as_training": 0.1}.get(how.rate)
    if expected is not None:
        assert first.rates[0] == pytest.approx(expected)


def test_iterative_pruning_keeps_the_same_fraction_every_round():
    net, _ = trained()
    left = []
    count = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: left.append(
            sum(np.count_nonzero(w) for w in net.get_weights()[::2])
        )
    )
    found = tfshed.retrain(
        net, "fine_tune", X, Y, **GIVEN, sparsity=0.75, rounds=2, epochs=1, callbacks=[count]
    )
    assert len(found) == 2 and left == [36, 18]  # of 72


def test_zeros_that_are_there_are_the_masks():
    net, _ = trained()
    tfshed.sparsify(net, 0.5, scope="layer")
    masks = masks_of(net)
    tfshed.retrain(net, "reinitialize", X, Y, **GIVEN, epochs=1)
    for weight, mask in zip(net.get_weights(), masks):
        if mask is not None:
            np.testing.assert_array_equal(weight != 0, mask)


def test_what_is_missing_is_said_and_nothing_changes():
    net, kept = trained()
    before = net.get_weights()
    cases = [
        ("fine_tun", {"epochs": 1, "sparsity": 0.5}, "Did you mean 'fine_tune'"),
        ("fine_tune", {"sparsity": 0.5}, "epochs: expected a number"),
        ("fine_tune", {"epochs": 1}, "sparsity: expected a number"),
        ("lottery_ticket", {"sparsity": 0.5}, "weights of before training, received None"),
        ("rewind_weights", {"epochs": 1, "sparsity": 0.5, "weights": kept[2][:1]}, "another net"),
        ("fine_tune", {"epochs": 1, "sparsity": 0.5, "rounds": 0}, "rounds"),
    ]
    for strategy, options, words in cases:
        with pytest.raises(ValueError, match=words):
            tfshed.retrain(net, strategy, X, Y, **GIVEN, **options)
    wrapped = tfshed.prune_low_magnitude(net, tfshed.OneShot(0.5))
    wrapped.compile("sgd", "mse")
    with pytest.raises(ValueError, match="strip_pruning"):
        tfshed.retrain(wrapped, "fine_tune", X, Y, **GIVEN, epochs=1, sparsity=0.5)
    for a, b in zip(net.get_weights(), before):
        np.testing.assert_array_equal(a, b)


def test_sparse_scratch_has_the_published_deviation():
    net = keras.Sequential([keras.Input((8, 8, 64)), keras.layers.Conv2D(96, 3)])
    tfshed.sparsify(net, 0.9)
    masks = masks_of(net)
    drawn = sparse_fresh_weights(net, net.get_weights(), masks, seed=1)[0]
    left = int(masks[0].sum())
    assert np.count_nonzero(drawn) == left
    assert drawn[masks[0]].std() == pytest.approx(np.sqrt(2 / (left / 64)), rel=0.05)


def test_epochs_are_kept_in_memory_and_in_files(tmp_path):
    net, kept = trained()
    assert sorted(kept) == [0, 2]
    again = tfshed.KeepEpochs((1,), tmp_path)
    net.fit(X, Y, epochs=1, verbose=0, callbacks=[again])
    assert [p.name for p in tmp_path.iterdir()] == ["epoch-0001.npz"] and not again.weights
    with pytest.raises(ValueError, match=r"epochs\[0\]"):
        tfshed.KeepEpochs((-1,))
