"""`PruneLowMagnitude` for tf_keras: tfmot's wrapper, with the masks of tfshed in it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfshed.attach.decisions import decide, declared_kernels
from tfshed.attach.kernels import Kernel, KernelsByDefault, candidates
from tfshed.attach.ownership import note_pruned
from tfshed.attach.rules import Selection
from tfshed.attach.saved_kernels import find_kernels
from tfshed.attach.tf_keras.masking import Masking
from tfshed.attach.tf_keras.private import is_saving, set_untracked, takes_mask, takes_training
from tfshed.attach.tf_keras.real import pruning_wrapper, sparsity, tf_keras
from tfshed.attach.tf_keras.state import KernelState
from tfshed.core import schedules
from tfshed.core.backend import to_numpy
from tfshed.core.config import PruningConfig


@tf_keras.utils.register_keras_serializable("tfshed")
class PruneLowMagnitude(pruning_wrapper.PruneLowMagnitude):
    """Says which kernels of a tf_keras layer are pruned, and keeps their masks and thresholds.

    Made by `tfshed.prune_low_magnitude`. It is a tfmot wrapper, which tfmot's `strip_pruning`,
    `UpdatePruningStep`, `PruningSummaries`, `prune_scope` and `collect_prunable_layers` take. But
    pruning happens where the optimizer steps (`tfshed.tfmot.bind`), not in the forward pass: what
    the layer computes, and its float32 weights under mixed precision, are left as they are.

    Args:
        layer: a tf_keras layer, built or not.
        config: a `tfshed.PruningConfig`, or its JSON from `get_config`.
        kernels: which of the layer's kernels, as `tfshed.attach.saved_kernels` names them, or as
            numbers in their order; None for the default.

    Attributes:
        pruning_vars: list of (weight, mask, threshold), one for each pruned kernel, all variables;
            the mask is bool, True = kept, with one element for each block where blocks are pruned.
        pruning_step: int64 variable, optimizer steps done; -1 before training.

    Raises:
        RuntimeError: called with training=True while no optimizer prunes it.
    """

    pruning_obj: Any

    def __init__(
        self, layer: Any, config: Any = None, kernels: Sequence[Any] | None = None, **kwargs: Any
    ):
        if isinstance(config, str):
            config = _read(config)
        if not isinstance(config, PruningConfig):
            raise TypeError(f"config: expected a tfshed PruningConfig, received {config!r}")
        if isinstance(layer, pruning_wrapper.PruneLowMagnitude):
            raise ValueError(f"layer: expected one that is not wrapped yet, received {layer.name}")
        # tfmot's wrapper takes any layer that has this method.
        if isinstance(layer, tf_keras.layers.Layer) and not hasattr(layer, "get_prunable_weights"):
            layer.get_prunable_weights = KernelsByDefault(layer)
        # Around Keras' tracking, which would save masks and kernels twice.
        set_untracked(self, config=config, state=[], _chosen=None, _hook=None)
        set_untracked(self, was_trained=False)
        set_untracked(self, kernel_numbers=None if kernels is None else list(kernels))
        # float32 and no cast: the layer inside has a policy of its own.
        super().__init__(
            layer,
            config.schedule,
            **{**config.granularity.as_tfmot(), **kwargs, "dtype": "float32", "autocast": False},
        )
        self.supports_masking = layer.supports_masking

    def build(self, input_shape: Any = None) -> None:
        # Not tfmot's `build`, which makes float masks.
        tf_keras.layers.Wrapper.build(self, input_shape)
        if self.chosen_kernels():
            self._make_state()

    @property
    def settled(self) -> bool:
        """Whether all kernels are there: some layers make theirs when they are called first."""
        return self.pruning_obj is not None

    def chosen_kernels(self) -> list[Kernel]:
        """The kernels this declaration prunes; empty as long as the layer has none."""
        if self._chosen is None:
            if not candidates(self.layer):
                return []
            if self.kernel_numbers is None:
                kernels = declared_kernels(decide(self.layer, self.config, Selection(), True))
            else:
                kernels = find_kernels(self.layer, self.kernel_numbers)
            set_untracked(self, _chosen=kernels)
        return list(self._chosen)

    def _make_state(self) -> None:
        if self.pruning_obj is not None:
            return

        def add(name: str, i: int, shape: Any, dtype: str, first: float) -> Any:
            # Checkpoints go by these names, so each has one of its own.
            return self.add_weight(
                name=f"{name}_{i}" if i else name,
                shape=shape,
                dtype=dtype,
                initializer=tf_keras.initializers.Constant(first),
                trainable=False,
            )

        state = []
        for i, kernel in enumerate(self.chosen_kernels()):
            shape = tuple(kernel.variable.shape)
            shape = self.config.granularity.mask_shape(shape, kernel.axes)
            state.append(
                KernelState(
                    mask=add("mask", i, shape, "bool", True),
                    threshold=add("threshold", i, (), "float32", self.config.threshold),
                    counts=add("counts", i, (3,), "int32", 0),
                    survives_above=add("survives_above", i, (), "float32", 0.0),
                    criterion={
                        name: add(name, i, shape, "float32", 0.0)
                        for name in self.config.criterion.keeps
                    },
                )
            )
        set_untracked(self, state=state)
        self.pruning_target = add("pruning_target", 0, (), "float32", 1.0)
        self.pruning_step = add("pruning_step", 0, (), "int64", -1)
        self.pruning_obj = Masking(self)

    @property
    def prunable_weights(self) -> list[Any]:
        """The variables that are pruned (tfmot's name for them)."""
        return [kernel.variable for kernel in self.chosen_kernels()]

    @property
    def pruning_vars(self) -> list[tuple[Any, Any, Any]]:
        weights = [kernel.variable for kernel in self.chosen_kernels()]
        return [(w, s.mask, s.threshold) for w, s in zip(weights, self.state)]

    @pruning_vars.setter
    def pruning_vars(self, value: Any) -> None:
        """tfmot's constructor sets an empty list."""

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("training") is True and not is_saving():
            self._check_pruned()
        # Keras gives both to every layer that takes keyword arguments.
        if not takes_training(self.layer):
            kwargs.pop("training", None)
        if not takes_mask(self.layer):
            kwargs.pop("mask", None)
        # Called as a layer, with its own policy, masks and regularization, and not its `call`.
        outputs = self.layer(inputs, *args, **kwargs)
        self._make_state()
        return outputs

    def _check_pruned(self) -> None:
        set_untracked(self, was_trained=True)
        hook = self.hook
        if hook is None or not hook.is_in_use():
            raise RuntimeError(
                f"{self.name} is trained, but no optimizer prunes it. Add "
                "tfshed.tfmot.UpdatePruningStep() to the callbacks of fit(), or call "
                "tfshed.tfmot.bind(model) before training, and once more after compile()."
            )

    def not_zero_under_masks(self) -> list[str]:
        """The paths of kernels with weights that their mask removes and that are not zero."""
        return [] if self.pruning_obj is None else self.pruning_obj.not_zero_under_masks()

    def note_pruned(self) -> None:
        """Lets whoever prunes these kernels next hold the zeros that pruning made."""
        for kernel, state in zip(self.chosen_kernels(), self.state):
            if not self.config.observe and not to_numpy(state.mask).all():
                note_pruned(kernel.variable)

    @property
    def hook(self) -> Any:
        """The `Hook` of the optimizer that prunes this layer; None if there is none."""
        return None if self._hook is None else self._hook()

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return self.layer.compute_mask(inputs, mask)

    def get_config(self) -> dict[str, Any]:
        config = tf_keras.layers.Wrapper.get_config(self)
        # As text: Keras would read objects of Keras 3 as its own.
        return {**config, "config": _written(self.config), "kernels": self.kernel_numbers}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        return tf_keras.layers.Wrapper.from_config.__func__(cls, config, custom_objects)


def _written(config: PruningConfig) -> str:
    values = config.get_config()
    if not isinstance(config.schedule, schedules.PruningSchedule):
        # tfmot's own form, which tf_keras can read back.
        values["schedule"] = {"tfmot": config.schedule.get_config()}
    return json.dumps(values)


def _read(text: str) -> PruningConfig:
    values = json.loads(text)
    own = values["schedule"].get("tfmot")
    if own is None:
        return PruningConfig.from_config(values)
    known: dict[str, Callable[..., Any]] = {
        kind.__name__: kind for kind in (sparsity.ConstantSparsity, sparsity.PolynomialDecay)
    }
    schedule = tf_keras.utils.legacy.deserialize_keras_object(own, custom_objects=known)
    stand_in = keras.saving.serialize_keras_object(schedules.OneShot(0.0))
    config = PruningConfig.from_config({**values, "schedule": stand_in})
    return dataclasses.replace(config, schedule=schedule)
