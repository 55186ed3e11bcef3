"""What tfmot's callbacks and users ask of a wrapper's `pruning_obj`: zeros and updates, now."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfshed.attach.tf_keras.group import WrapperGroup
from tfshed.attach.tf_keras.real import pruning_impl
from tfshed.attach.tf_keras.state import Member
from tfshed.core.engine import shed


class Masking(pruning_impl.Pruning):
    """The `pruning_obj` of a `tfshed.tfmot.PruneLowMagnitude`, with tfmot's two methods.

    Args:
        wrapper: the wrapper, with its state.
    """

    def __init__(self, wrapper: Any):
        super().__init__(
            training_step_fn=lambda: wrapper.pruning_step,
            pruning_vars=wrapper.pruning_vars,
            pruning_schedule=wrapper.pruning_schedule,
            # tfmot would refuse blocks of anything but matrices.
            block_size=(1, 1),
            block_pooling_type="AVG",
        )
        self._wrapper = wrapper

    def _weight_assign_objs(self) -> list[Any]:
        """The assignments of tfmot's `weight_mask_op`: exact zeros under the masks."""
        wrapper = self._wrapper
        return [
            kernel.variable.assign(
                shed(
                    wrapper.config,
                    tf.convert_to_tensor(kernel.variable),
                    tf.convert_to_tensor(state.mask),
                    None,
                    kernel.axes,
                )[1]
            )
            for kernel, state in zip(wrapper.chosen_kernels(), wrapper.state)
        ]

    def not_zero_under_masks(self) -> list[str]:
        """The paths of kernels with weights that their mask removes and that are not zero."""
        wrapper, wrong = self._wrapper, []
        if wrapper.config.observe:
            return []  # shadow masks remove nothing
        for kernel, state in zip(wrapper.chosen_kernels(), wrapper.state):
            weight, mask = tf.convert_to_tensor(kernel.variable), tf.convert_to_tensor(state.mask)
            kept = wrapper.config.granularity.expand(mask, tuple(weight.shape), kernel.axes)
            # Counted where the weights are: only one number for each kernel comes back.
            if bool(tf.reduce_any(tf.logical_and(tf.logical_not(kept), weight != 0))):
                wrong.append(kernel.path)
        return wrong

    def conditional_mask_update(self) -> Any:
        """Makes new masks if the schedule has an update at the wrapper's step, as in tfmot.

        While an optimizer prunes the model (`tfshed.tfmot.bind`) there is no need to call this:
        updates are part of its step. With a global scope, the kernels of all layers are ranked
        together, and all of them get new masks. Before training (step -1) nothing is due.

        Returns:
            In a graph an operation that groups nothing, since the updates are ordered by TensorFlow
            itself; eagerly None.

        Raises:
            RuntimeError: with a global scope, if no optimizer prunes the model, since a wrapper
                does not know the other layers.
        """
        wrapper = self._wrapper
        hook = wrapper.hook
        if hook is not None:
            groups = [g for g in hook.groups if any(w is wrapper for w in g.wrappers)]
        elif wrapper.config.scope == "global":
            raise RuntimeError(
                f"{wrapper.name}: expected an optimizer that prunes its model, since "
                'scope="global" ranks the kernels of all layers together, and found none. Call '
                "tfshed.tfmot.bind(model) before conditional_mask_update()."
            )
        else:
            kernels = zip(wrapper.chosen_kernels(), wrapper.state)
            members = [Member(k, s, wrapper) for k, s in kernels if k.variable.trainable]
            groups = [WrapperGroup(members)] if members else []
        for group in groups:
            group.prune_by_wrapper_step()
        return tf.group()
