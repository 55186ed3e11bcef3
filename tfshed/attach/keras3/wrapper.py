"""`PruneLowMagnitude`: a layer around another one, which records how that one is pruned."""

from __future__ import annotations

import functools
import inspect
import operator
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfshed.attach.decisions import Decision, decide, declared_kernels
from tfshed.attach.keras3.private import (
    call_context,
    copy_input_shape,
    layers_in,
    set_untracked,
    take_inputs_like,
)
from tfshed.attach.keras3.training_check import check_owned, check_zeros, is_trained
from tfshed.attach.kernels import Kernel, KernelsByDefault
from tfshed.attach.ownership import owner_of, was_pruned
from tfshed.attach.rules import Selection
from tfshed.attach.saved_kernels import find_kernels
from tfshed.core.backend import is_known, read, to_numpy
from tfshed.core.config import PruningConfig

PREFIX = "prune_low_magnitude_"


@keras.saving.register_keras_serializable(package="tfshed")
class PruneLowMagnitude(keras.layers.Wrapper):
    """Records how kernels of a layer are pruned, and computes exactly what the layer computes.

    `tfshed.prune_low_magnitude` makes these wrappers. The optimizer holds masks and thresholds (see
    `tfshed.PruningOptimizer`). A wrapper has no variables of its own, so the weights keep their
    order and `plain.set_weights(wrapped.get_weights())` works.

    Args:
        layer: The Keras layer, built or not.
        config: The `tfshed.PruningConfig` that says how it is pruned.
        kernels: Which of the layer's kernels are pruned, as `tfshed.attach.saved_kernels` names
            them, or as numbers in their order. None (default) means all of them, since the layer
            itself was chosen. "default" means those that are pruned when a whole model is declared,
            so no embeddings.
        name: The name of the wrapper. None (default) means "prune_low_magnitude_" and the name of
            the layer.
        pruned: For a wrapper from a file, whether pruning had set weights of each of these kernels
            to zero; then their zeros are held when training continues.
        **kwargs: Further arguments of a Keras layer.

    Attributes:
        layer: The wrapped layer.
        pruning_vars: A list of (weight, mask, threshold), one for each pruned kernel: the variable,
            a bool tensor of its shape (True = kept), and a float32 scalar. Before training the mask
            is True where the weight is not zero, and the threshold is the first one.
        pruning_step: The last optimizer step in which the kernels were pruned, an int; -1 before
            training.
        pruning_schedule: The schedule that was declared.
        block_size, block_pooling_type, sparsity_m_by_n: What was declared, in tfmot's terms; (1,
            1), "AVG" and None where tfmot has no term for it.

    Raises:
        TypeError: `config` is no PruningConfig.
        ValueError: `layer` is wrapped already, or `kernels` is a text other than "default".
        RuntimeError: at a call with training=True, no optimizer prunes the layer.
    """

    def __init__(
        self,
        layer: keras.Layer,
        config: PruningConfig | None = None,
        kernels: Sequence[dict[str, Any] | int] | str | None = None,
        name: str | None = None,
        pruned: Sequence[bool] = (),
        **kwargs: Any,
    ):
        if isinstance(layer, PruneLowMagnitude):
            raise ValueError(f"layer: expected one that is not wrapped yet, received {layer.name}")
        if not isinstance(config, PruningConfig):
            raise TypeError(f"config: expected a tfshed PruningConfig, received {config!r}")
        # Keras asks call and build for their signatures: those of the wrapped layer, so that
        # several inputs, masks, initial states and `training` go through by name.
        set_untracked(self, call=_with_signature(functools.partial(_call, self), layer.call))
        super().__init__(
            layer, name=name or PREFIX + layer.name, dtype=layer.dtype_policy, **kwargs
        )
        set_untracked(self, build=_with_signature(self.build, layer.build))
        self.config = config
        set_untracked(self, _kernels=None)
        self._which_kernels = _checked(kernels)
        take_inputs_like(self, layer)
        self.supports_masking = layer.supports_masking
        self.saved_pruned = [bool(each) for each in pruned]
        self.built = layer.built
        set_untracked(self, _training_calls=0)
        # By this a Sequential model knows the input of its first layer.
        copy_input_shape(layer, self)
        # tfmot's users ask the layer inside for it, too.
        if not hasattr(layer, "get_prunable_weights"):
            set_untracked(layer, get_prunable_weights=KernelsByDefault(layer))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if is_trained(call_context(), kwargs.get("training")):
            self.check_pruned()
        return super().__call__(*args, **kwargs)

    def build(self, *args: Any, **kwargs: Any) -> None:
        if not self.layer.built:
            self.layer.build(*args, **kwargs)
        self.built = True

    @property
    def trainable(self) -> bool:
        """Whether the layer inside is trained: it may be frozen or thawed there, too."""
        layer = getattr(self, "layer", None)
        return True if layer is None else bool(layer.trainable)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        keras.layers.Wrapper.trainable.fset(self, value)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return self.layer.compute_mask(inputs, previous_mask)

    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any:
        return self.layer.compute_output_shape(*args, **kwargs)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        return self.layer.compute_output_spec(*args, **kwargs)

    def get_build_config(self) -> Any:
        return self.layer.get_build_config()

    def build_from_config(self, config: Any) -> None:
        self.layer.build_from_config(config)
        self.built = self.layer.built

    def chosen_kernels(self) -> list[Kernel]:
        """The kernels this declaration prunes; empty if the layer is not built or has none."""
        if not self.layer.built:
            return []
        if self._kernels is None:
            if self._which_kernels in (None, "default"):
                kernels = declared_kernels(self.decide())
            else:
                kernels = find_kernels(self.layer, self._which_kernels)
            set_untracked(self, _kernels=kernels)
        return self._kernels or []

    def decide(self) -> list[Decision]:
        """What would be decided about the kernels of the layer if it were wrapped now."""
        every = self._which_kernels is None
        return decide(self.layer, self.config, Selection(), explicit=every)

    def check_pruned(self) -> None:
        """Raises RuntimeError unless an optimizer prunes all that this layer declares."""
        trained = [k for k in self.chosen_kernels() if k.variable.trainable]
        check_owned(self, trained)
        # Inside of a compiled step the weights have no values that could be looked at.
        if trained and all(is_known(read(k.variable)) for k in trained):
            set_untracked(self, _training_calls=self._training_calls + 1)
            check_zeros(self, trained, self._training_calls)

    @property
    def pruning_vars(self) -> list[tuple[Any, Any, Any]]:
        rows = []
        for kernel in self.chosen_kernels():
            owner = owner_of(kernel.variable)
            if owner is None:
                mask = ops.not_equal(kernel.variable.value, 0)
                threshold = np.float32(self.config.threshold)
            else:
                mask, threshold = owner.mask(kernel.variable, kernel.axes), owner.threshold
            rows.append((kernel.variable, mask, ops.convert_to_tensor(threshold)))
        return rows

    @property
    def pruning_step(self) -> int:
        for kernel in self.chosen_kernels():
            owner = owner_of(kernel.variable)
            if owner is not None:
                return int(to_numpy(owner.state.step))
        return -1

    @property
    def pruning_schedule(self) -> Any:
        return self.config.schedule

    @property
    def block_size(self) -> Any:
        return self.config.granularity.as_tfmot()["block_size"]

    @property
    def block_pooling_type(self) -> Any:
        return self.config.granularity.as_tfmot()["block_pooling_type"]

    @property
    def sparsity_m_by_n(self) -> Any:
        return self.config.granularity.as_tfmot()["sparsity_m_by_n"]

    def get_prunable_weights(self) -> list[Any]:
        """The variables that are pruned (tfmot's name for it)."""
        return [kernel.variable for kernel in self.chosen_kernels()]

    def save_own_variables(self, store: Any) -> None:
        # Keras saves kernels with LoRA merged into them, as it loads them without.
        for layer in layers_in(self, include_self=False):
            if getattr(layer, "lora_enabled", False) and to_numpy(layer.lora_kernel_b).any():
                inside = {id(variable) for variable in layer.variables}
                mine = [k.path for k in self.chosen_kernels() if id(k.variable) in inside]
                warnings.warn(
                    f"{', '.join(mine) or layer.path} is saved with LoRA merged into it, as Keras "
                    "does it: a dense kernel, whose zeros are not in the file. Save the weights of "
                    "LoRA apart, or prune the kernel again after loading.",
                    stacklevel=2,
                )
        super().save_own_variables(store)

    def get_config(self) -> dict[str, Any]:
        put = keras.saving.serialize_keras_object
        pruned = [was_pruned(k.variable) for k in self.chosen_kernels()]
        return {
            "name": self.name,
            "layer": put(self.layer),
            "config": put(self.config),
            "kernels": self._which_kernels,
            **({"pruned": pruned} if any(pruned) else {}),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> PruneLowMagnitude:
        get = keras.saving.deserialize_keras_object
        config = dict(config)
        layer = get(config.pop("layer"), custom_objects=custom_objects)
        return cls(layer, get(config.pop("config"), custom_objects=custom_objects), **config)


def _with_signature(function: Any, like: Any) -> Any:
    """The function, which then has the signature and the name of a layer's method `like`."""
    result: Any = functools.wraps(like)(function)
    # Keras puts a function around each `build`, and a decorator may have written a signature with
    # `self` on it, which `wraps` copies. The signature of the bound method has no `self`.
    result.__signature__ = inspect.signature(getattr(like, "__wrapped__", like))
    return result


def _checked(kernels: Any) -> Any:
    if kernels is None or kernels == "default":
        return kernels
    if isinstance(kernels, str):
        raise ValueError(f'kernels: expected None, "default" or a list, received {kernels!r}')
    return [each if isinstance(each, dict) else operator.index(each) for each in kernels]


def _call(wrapper: PruneLowMagnitude, *args: Any, **kwargs: Any) -> Any:
    return wrapper.layer(*args, **kwargs)
