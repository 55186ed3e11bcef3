"""Decides which channels are removed: the largest set whose removal changes no output.

A channel can be removed if every dense or convolutional layer that reads it has no weight for it,
or can compensate for it. A constant channel is compensated by the bias. If the constant meets zero
padding, it is compensated by another constant channel that is kept, its host: a convolution is
linear, so the constants a and b in two channels give the same output as b alone with the kernel
k_b + a / b * k_a, at the borders too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfshed.export.shrink.trace import Consumer, Trace


@dataclasses.dataclass(frozen=True, eq=False)
class Solution:
    """Which channels are removed.

    Attributes:
        labels: int (ids,), the group that each channel id belongs to. The channels of a group are
            removed together or not at all.
        removed: bool (groups,), whether a group is removed.
        host: int (groups,), the group that compensates for a removed one at padded borders; -1 if
            there is none.
        kept_for: For groups that could be removed but are needed, the reason.
    """

    labels: np.ndarray
    removed: np.ndarray
    host: np.ndarray
    kept_for: dict[int, str]

    def keep(self, ids: np.ndarray) -> np.ndarray:
        """Bool, which of these channels are kept."""
        return ~self.removed[self.labels[ids]]


def solve(trace: Trace) -> Solution:
    """Removes channels until no more can be removed. Every tensor keeps at least one channel."""
    removal = _Removal(trace)
    while removal.remove_unneeded() or removal.remove_hosted():
        pass
    return Solution(removal.labels, removal.removed, removal.host, removal.kept_for)


def components(count: int, ties: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """A label for each id, the same for ids that are tied.

    >>> components(4, [(np.array([0]), np.array([2]))]).tolist()
    [0, 1, 0, 2]
    """
    a = np.concatenate([np.zeros(0, np.int64), *(a for a, _ in ties)])
    b = np.concatenate([np.zeros(0, np.int64), *(b for _, b in ties)])
    # Each id points at an id of its own component that is not larger. Both ends of every tie take
    # the smaller of their two labels, and then every id takes the label of its label, until no tie
    # joins two labels.
    labels = np.arange(count)
    while not np.array_equal(labels[a], labels[b]):
        smaller = np.minimum(labels[a], labels[b])
        for ends in (a, b):
            # A label is the id of the component's representative: it moves, too.
            np.minimum.at(labels, labels[ends], smaller)
            np.minimum.at(labels, ends, smaller)
        labels = labels[labels]
    return np.unique(labels, return_inverse=True)[1]


class _Removal:
    def __init__(self, trace: Trace):
        self.labels = labels = components(trace.count, trace.ties)
        groups = int(labels.max(initial=-1)) + 1
        self.removed = np.zeros(groups, bool)
        self.blocked = np.zeros(groups, bool)
        for ids, _ in trace.blocks:
            self.blocked[labels[ids]] = True
        self.host = np.full(groups, -1)
        self.kept_for: dict[int, str] = {}
        self.consumers = list(trace.consumers.values())
        self.inputs = [labels[c.inputs] for c in self.consumers]
        self.outputs = [labels[c.outputs] for c in self.consumers]
        arrays = {id(x.ids): labels[x.ids] for x in trace.channels.values() if len(x.ids)}
        self.tensors = list(arrays.values())

    def _used(self, i: int) -> np.ndarray:
        """Bool (inputs,): channels that have a weight for an output that is kept."""
        uses = self.consumers[i].uses[:, ~self.removed[self.outputs[i]]]
        return np.asarray(uses.any(axis=1))

    def remove_unneeded(self) -> bool:
        """Removes channels that nothing uses or a bias can replace; False if there are none."""
        needed = self.blocked | self.removed
        for i, consumer in enumerate(self.consumers):
            hosted = self.host[self.inputs[i]] >= 0
            needed[self.inputs[i][self._used(i) & ~consumer.foldable & ~hosted]] = True
        return self._remove(~needed)

    def remove_hosted(self) -> bool:
        """Removes constant channels that could not be removed because of padding only.

        Of those that the same layers read, one is kept as the host. Returns False if there are
        none.
        """
        # For each group, the layers that read it and cannot add it to their bias.
        meets: dict[int, list[int]] = {}
        for i, consumer in enumerate(self.consumers):
            stuck = self._used(i) & ~consumer.foldable & (self.host[self.inputs[i]] < 0)
            for label in self.inputs[i][stuck]:
                meets.setdefault(int(label), []).append(i)
        stays = self.blocked | self.removed
        stays[self.host[self.host >= 0]] = False
        alike: dict[tuple[int, ...], list[int]] = {}
        for label, where in meets.items():
            if not stays[label] and all(self._constant(i, label) for i in where):
                alike.setdefault(tuple(where), []).append(label)
        new = np.zeros_like(self.removed)
        for found, group in alike.items():
            hosts = [label for label in group if label in self.host]
            # The host is the largest constant, so that dividing by it makes no large weights.
            host = max(hosts or group, key=lambda h: min(abs(self._constant(i, h)) for i in found))
            going = [label for label in group if label != host and label not in hosts]
            if going:
                self._entrust(going, host, found)
                new[going] = True
        return self._remove(new)

    def _entrust(self, going: list[int], host: int, where: tuple[int, ...]) -> None:
        """Makes `host` the host of the groups `going`, in the layers `where`."""
        names = ", ".join(self.consumers[i].layer.name for i in where)
        self.kept_for[host] = f"it stands for other constant channels at the borders of {names}"
        self.blocked[host] = True
        self.host[going] = host
        for i in where:
            uses, row = self.consumers[i].uses, self.inputs[i]
            uses[row == host] |= uses[np.isin(row, going)].any(axis=0)

    def _constant(self, i: int, label: int) -> float:
        """The constant of a group in a consumer, if a host could replace it; otherwise 0."""
        consumer: Consumer = self.consumers[i]
        values = consumer.const[self.inputs[i] == label]
        if len(values) != 1 or np.isnan(values[0]) or consumer.input_axis is None:
            return 0.0
        return float(values[0])

    def _remove(self, new: np.ndarray) -> bool:
        """Removes groups, except for the last of a tensor; False if none is left to remove."""
        # Keras' layers cannot have 0 channels.
        for tensor in self.tensors:
            if (self.removed | new)[tensor].all():
                last = int(tensor[new[tensor]][0])
                new[last], self.blocked[last] = False, True
                self.host[last] = -1
                self.kept_for[last] = "it is the last channel of its tensor"
        self.removed |= new
        return bool(new.any())
