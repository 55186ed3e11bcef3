"""The pruning rules in plain numpy, written from the papers and not from the engine.

A `Simulator` is told the weights before a step and after the inner optimizer's step, and says what
masks, threshold, counts and weights must be after it. `Replay` is an optimizer that takes the
gradient for the new weight, so that a test decides what the inner optimizer does.
"""

from __future__ import annotations

from fractions import Fraction

import keras
import numpy as np


@keras.saving.register_keras_serializable(package="tests")
class Replay(keras.optimizers.Optimizer):
    """Sets every variable to its gradient."""

    def __init__(self, learning_rate=1.0, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)

    def update_step(self, gradient, variable, learning_rate):
        self.assign(variable, keras.ops.cast(gradient, variable.dtype))


def blocks_of(x, a, b):
    """(..., rows, columns) as (..., rows / a, columns / b, a * b), zeros at the end."""
    rows, columns = x.shape[-2:]
    more = [(0, 0)] * (x.ndim - 2) + [(0, -rows % a), (0, -columns % b)]
    x = np.pad(x, more)
    x = x.reshape(*x.shape[:-2], x.shape[-2] // a, a, x.shape[-1] // b, b)
    x = np.moveaxis(x, -3, -2)
    return x.reshape(*x.shape[:-2], a * b)


def target_count(sparsity, total):
    """How many of `total` are kept, in Python's exact numbers; halves go to the even one."""
    keep = Fraction(float(np.float32(1) - np.float32(sparsity)))
    return max(1, round(keep * int(total)))


class Simulator:
    """Masks, threshold and counts after each step.

    Args:
        weights: the kernels at the start, input channels in the axis before the last.
        schedule: step -> (due, sparsity).
        block: None, or (a, b, pooling).
        pattern: None, or (size of a group, sparsity -> how many of a group go).
        order: None for magnitude, or (positions in the model, step) -> keys by which to prune
            instead.
        observe: whether no weight is ever made zero.
    """

    def __init__(
        self,
        weights,
        schedule,
        scope="global",
        threshold=1e-4,
        grow=True,
        shed_every=1,
        monotone=True,
        guard=0.1,
        final=0.8,
        block=None,
        pattern=None,
        order=None,
        observe=False,
    ):
        self.observe = observe
        self.schedule, self.block, self.pattern, self.order = schedule, block, pattern, order
        self.grow, self.shed_every, self.monotone = grow and threshold > 0, shed_every, monotone
        n = len(weights)
        self.scopes = [0] * n if scope == "global" else list(range(n))
        self.rows = [[i for i in range(n) if self.scopes[i] == s] for s in sorted({*self.scopes})]
        # Nothing is pruned yet: a weight that is zero at the start may be trained.
        self.masks = [np.ones(self.score(w).shape, bool) for w in weights]
        self.totals = [sum(self.masks[i].size for i in row) for row in self.rows]
        sizes = [m.size for m in self.masks]
        self.positions = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
        self.threshold = np.full(len(self.rows), threshold, "float32")
        self.kept, self.scheduled, self.shed = (np.zeros(len(self.rows), int) for _ in range(3))
        for i, s in enumerate(self.scopes):
            self.kept[s] += self.masks[i].sum()
        # The collapse guard leaves so many; 0: it is off.
        self.floor = [max(1, int(guard * (1 - final) * t)) if guard else 0 for t in self.totals]
        self.held = 0
        self.sheds = threshold > 0

    def score(self, weight):
        magnitude = np.abs(weight.astype("float32"))
        if self.block is None:
            return magnitude
        a, b, pooling = self.block
        x = blocks_of(magnitude, a, b)
        if pooling == "MAX":
            return x.max(-1)
        if pooling == "AVG":
            present = blocks_of(np.ones_like(magnitude), a, b).sum(-1)
            return x.sum(-1, dtype="float32") / present
        return np.sqrt((x * x).sum(-1, dtype="float32"))

    def expand(self, mask, shape):
        if self.block is not None:
            a, b, _ = self.block
            mask = mask.repeat(a, -2).repeat(b, -1)[..., : shape[-2], : shape[-1]]
        return mask

    def step(self, t, before, after):
        """The weights after step `t`, counted from 1."""
        due, sparsity = self.schedule(t)
        at_start, first = self.schedule(0)
        if t == 1 and at_start and not due:
            due, sparsity = True, first
        if due and self.monotone:
            self.prune(t, before, np.float32(sparsity))
        if self.sheds and t % self.shed_every == 0:
            held = False
            for s, row in enumerate(self.rows):
                left = {i: self.masks[i] & ~(self.score(after[i]) < self.threshold[s]) for i in row}
                if self.floor[s] and self.kept[s] <= self.floor[s]:
                    continue
                if sum(int(m.sum()) for m in left.values()) < self.floor[s]:
                    held = True
                    continue
                for i, mask in left.items():
                    self.masks[i] = mask
            self.held += held
        if due and not self.monotone:
            self.prune(t, after, np.float32(sparsity))
        if self.observe:
            return after
        return [
            np.where(self.expand(m, w.shape), w, np.zeros((), w.dtype))
            for m, w in zip(self.masks, after)
        ]

    def prune(self, t, weights, sparsity):
        for s, row in enumerate(self.rows):
            now = sum(int(self.masks[i].sum()) for i in row)
            if self.monotone:
                self.shed[s] += self.kept[s] - now
            old = [self.masks[i] if self.monotone else np.ones_like(self.masks[i]) for i in row]
            score = [self.score(weights[i]) for i in row]
            if self.pattern is not None:
                new = [self._pattern(m, x, sparsity) for m, x in zip(old, score)]
            else:
                new = self._smallest(s, t, old, score, sparsity)
            for i, m in zip(row, new):
                self.masks[i] = m
            self.kept[s] = sum(int(m.sum()) for m in new)
            self.scheduled[s] += now - self.kept[s]

    def _smallest(self, s, t, old, score, sparsity):
        kept = np.concatenate([m.ravel() for m in old])
        rank = flat = np.concatenate([x.ravel() for x in score])
        n = int(kept.sum()) - target_count(sparsity, self.totals[s])
        if n <= 0:
            return old
        if self.order is not None:
            rank = self.order(np.concatenate([self.positions[i] for i in self.rows[s]]), t)
        positions = np.flatnonzero(kept)
        gone = positions[np.argsort(rank[positions], kind="stable")[:n]]
        if self.order is None:
            largest = flat[gone[-1]]
            if not np.isfinite(largest):
                return old
            if self.grow:
                self.threshold[s] = max(self.threshold[s], largest)
        kept[gone] = False
        edges = np.cumsum([m.size for m in old])[:-1]
        return [part.reshape(m.shape) for part, m in zip(np.split(kept, edges), old)]

    def _pattern(self, old, score, sparsity):
        size, drop = self.pattern
        rank = np.where(old, score, -1.0)
        new = old.copy()
        for index in np.ndindex(*score.shape[:-2], score.shape[-2] // size, score.shape[-1]):
            *lead, group, column = index
            lanes = (*lead, slice(group * size, (group + 1) * size), column)
            gone = np.argsort(rank[lanes], kind="stable")[: drop(float(sparsity))]
            new[lanes][gone] = False
        return new
