"""All settings of one way to prune kernels, in a frozen object that Keras can serialise."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from tfshed.core import criteria, granularity
from tfshed.core.arguments import MOST_INT, check_bool, check_int, is_number
from tfshed.core.selective_decay import SelectiveWeightDecay

SCOPES = ("global", "layer")
# "theta, initialized to a small value, e.g., 1e-4": Azarian & Porikli 2021, section 3.2.
INITIAL_THRESHOLD = 1e-4


@keras.saving.register_keras_serializable(package="tfshed")
@dataclasses.dataclass(frozen=True)
class PruningConfig:
    """The settings of one way to prune. With a global scope, equal configs are pruned together.

    Args:
        schedule: A callable step -> (should_prune, sparsity) with `get_config`, such as a
            `tfshed.PruningSchedule` or a schedule of tfmot.
        scope: "global" (one ranking over all kernels) or "layer" (every kernel reaches the same
            sparsity, as in tfmot). Default None: the schedule's `default_scope`, or "layer" if it
            has none.
        criterion: A registered name such as "magnitude" (default), "random", "taylor" or
            "movement", or a `tfshed.criteria.Criterion`.
        granularity: None (default) for single weights, a text such as "4x1" or "2:4", or a
            `tfshed.granularity.Granularity`.
        threshold: The first threshold, a magnitude >= 0. Between updates, a weight whose magnitude
            (a block whose norm) falls below the threshold is removed for good. 0 turns shedding
            off. Default None: 1e-4 with a global scope, 0 with scope "layer".
        grow_threshold: Whether the threshold grows to the largest magnitude that was pruned
            (section 3.2 of Azarian & Porikli 2021). Default None: True if the criterion ranks by
            magnitude, the granularity ranks over the scope (`NxM` and `Balanced` do not) and the
            threshold is above 0.
        shed_every: Every how many steps weights below the threshold are removed. Default 1.
        monotone: True (default): pruned weights never come back. False: the mask is chosen anew
            from all weights at each update, as in tfmot, and there is no shedding.
        weight_decay: A `SelectiveWeightDecay`, which needs a `Block`. Default None.
        collapse_guard: A fraction of the final keep-ratio, in [0, 1). Default 0.1; 0 turns the
            guard off. If shedding in a step would leave less than this fraction of a scope, or
            nothing at all, nothing is shed there in this step. If the schedule has no
            `final_sparsity`, it is a fraction of the current target keep-ratio.
        hold_zeros: Whether weights that are zero before pruning begins are held at zero like pruned
            ones. Default False: they are trained like all others.
        observe: Whether the rule is only applied to masks, which are then called shadow masks:
            threshold, masks and counts become what they are, and no weight, gradient or slot is
            changed. Default False.

    Raises:
        ValueError: An argument is wrong. The error names it.

    >>> from tfshed import LinearDecay
    >>> config = PruningConfig(LinearDecay(0.8, end_step=1000), granularity="4x1", shed_every=10)
    >>> config.scope, config.threshold, config.granularity
    ('global', 0.0001, Block(a=4, b=1, pooling='L2', pad=False))
    """

    # These fields have the type Any, since a caller may pass None or a name. After __post_init__
    # each holds the object that was meant.
    schedule: Any
    scope: Any = None
    criterion: Any = "magnitude"
    granularity: Any = None
    threshold: Any = None
    grow_threshold: bool | None = None
    shed_every: int = 1
    monotone: bool = True
    weight_decay: SelectiveWeightDecay | None = None
    collapse_guard: float = 0.1
    hold_zeros: bool = False
    observe: bool = False

    def __post_init__(self) -> None:
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        ready = callable(self.schedule) and not isinstance(self.schedule, type)
        if not ready or not hasattr(self.schedule, "get_config"):
            raise ValueError(
                "pruning_schedule: expected a PruningSchedule (a callable step -> (should_prune, "
                f"sparsity) with get_config), received {self.schedule!r}"
            )
        if self.scope is None:
            put("scope", getattr(self.schedule, "default_scope", "layer"))
        if not isinstance(self.scope, str) or self.scope not in SCOPES:
            raise ValueError(f"scope: expected one of {SCOPES}, received {self.scope!r}")
        put("criterion", criteria.get(self.criterion))
        unknown = set(self.criterion.needs) - set(criteria.NEEDS)
        if isinstance(self.criterion.needs, str) or unknown:
            raise ValueError(
                f"criterion: expected needs to be a tuple of {criteria.NEEDS}, received "
                f"{self.criterion.needs!r} in {self.criterion!r}"
            )
        put("granularity", granularity.get(self.granularity))
        for name in ("monotone", "hold_zeros", "observe"):
            put(name, check_bool(name, getattr(self, name)))
        self._check_threshold(put)
        check_int("shed_every", self.shed_every, 1, MOST_INT)
        if not is_number(self.collapse_guard) or not 0 <= self.collapse_guard < 1:
            raise ValueError(
                f"collapse_guard: expected a fraction in [0, 1), received {self.collapse_guard!r}"
            )
        if self.weight_decay is not None:
            self._check_weight_decay()
        if self.observe and (self.hold_zeros or self.weight_decay is not None):
            wrong = "hold_zeros=True" if self.hold_zeros else repr(self.weight_decay)
            raise ValueError(
                "observe: expected False together with hold_zeros or weight_decay, since both "
                f"change weights and observe=True changes none; received True with {wrong}"
            )

    def _check_threshold(self, put: Any) -> None:
        if self.threshold is None:
            first = INITIAL_THRESHOLD if self.scope == "global" and self.monotone else 0.0
            put("threshold", first)
        value = self.threshold
        if not is_number(value) or value < 0:
            raise ValueError(f"threshold: expected a finite number >= 0, received {value!r}")
        put("threshold", float(value))
        if value and not self.monotone:
            raise ValueError(
                "threshold: expected 0 with monotone=False, since a weight that was shed never "
                f"comes back; received {value!r}"
            )
        may_grow = bool(value) and self.criterion.grows_threshold and self.granularity.ranks_scope
        if self.grow_threshold is None:
            put("grow_threshold", may_grow)
        put("grow_threshold", check_bool("grow_threshold", self.grow_threshold))
        if self.grow_threshold and not may_grow:
            raise ValueError(
                "grow_threshold: expected False unless threshold > 0, the criterion ranks by "
                "magnitude and the granularity ranks over the scope; received True with "
                f"threshold={value!r}, {self.criterion!r}, {self.granularity!r}"
            )

    def _check_weight_decay(self) -> None:
        if not isinstance(self.weight_decay, SelectiveWeightDecay):
            raise ValueError(
                f"weight_decay: expected a SelectiveWeightDecay, received {self.weight_decay!r}"
            )
        size = self.granularity.element_size
        if size is None or size == 1:
            raise ValueError(
                "weight_decay: expected granularity=Block(...), as selective weight decay counts "
                f"the weights of blocks; received {self.granularity!r}"
            )
        self.weight_decay.check(size)

    @property
    def final_sparsity(self) -> float | None:
        """The sparsity that the schedule ends with; None if it does not say."""
        for name in ("final_sparsity", "target_sparsity"):
            value = getattr(self.schedule, name, None)
            if value is not None:
                return float(value)
        return None

    def get_config(self) -> dict[str, Any]:
        put = keras.saving.serialize_keras_object
        config = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        for name in ("schedule", "criterion", "granularity", "weight_decay"):
            config[name] = put(config[name])
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PruningConfig:
        get = keras.saving.deserialize_keras_object
        objects = ("schedule", "criterion", "granularity", "weight_decay")
        return cls(**{k: get(v) if k in objects else v for k, v in config.items()})

    def key(self) -> str:
        """A text that is equal for equal configs. Kernels with the same key form one group."""
        import json

        return json.dumps(keras.saving.serialize_keras_object(self), sort_keys=True, default=str)
