"""`PruningOptimizer`: a Keras optimizer around the user's own, which prunes in each of its steps.

Pruning is done here and not in layers or callbacks, because an optimizer sees all kernels after
every step, inside the compiled step, on every backend and every replica, and because its variables
are saved with the model.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfshed.attach.agreement import disagreement
from tfshed.attach.group import PruningGroup, number_positions
from tfshed.attach.keras3 import private
from tfshed.attach.keras3.around_step import (
    gradients_for_inner,
    prune_averages,
    seen_by_criterion,
)
from tfshed.attach.keras3.checks import check_name, check_to_prune
from tfshed.attach.keras3.find_groups import find_groups
from tfshed.attach.keras3.optimizer_around import OptimizerAround
from tfshed.attach.keras3.redirect import redirect, restore
from tfshed.attach.keras3.saved_state import assign_all, variables_in_file
from tfshed.attach.notices import WarnOnce
from tfshed.attach.ownership import (
    chain,
    check_sole_owner,
    claim,
    owned_by,
    owner_of,
    release,
    transfer,
)
from tfshed.attach.starting import check_start
from tfshed.attach.types import Array
from tfshed.core.arguments import check_bool
from tfshed.core.backend import init_scope


@keras.saving.register_keras_serializable(package="tfshed")
class PruningOptimizer(OptimizerAround):
    """Prunes the kernels of a model in each step of the optimizer inside of it.

    One step does three things:

    1. If the schedule has an update at this step, the surplus of weights is pruned.
    2. The inner optimizer steps.
    3. Weights whose magnitude fell below the threshold are shed, and every weight that its mask
       removes is set to exactly zero.

    `tfshed.UpdatePruningStep` puts this optimizer around the compiled one; in a custom training
    loop you make it yourself. With loss scaling it belongs inside of the `LossScaleOptimizer`, so
    that a skipped step is no pruning step. It counts whole optimizer steps: several batches whose
    gradients are accumulated make one.

    Args:
        inner_optimizer: A Keras optimizer, or its name.
        prune: A model, layer or list of layers from `tfshed.prune_low_magnitude`, whose kernels are
            looked up when the optimizer is built; or a list of `PruningGroup`. None (default) is
            for optimizers that are read from a file.
        mask_gradients: Whether the inner optimizer gets gradients of zero for pruned weights.
            "auto" (default) means True where its update of one weight depends on others (clipnorm,
            global_clipnorm, Adafactor, Lamb, Muon) and False elsewhere, where the gradients of
            pruned weights change nothing.
        name: The name of the optimizer. None (default) means that of the class.
        start: Whether the masks of an earlier run on these kernels are continued: "auto" (default),
            "continue" or "again", see `tfshed.UpdatePruningStep`.
        only_stepped: Whether to prune only those declared kernels that this optimizer is built
            with, and to become their owner in its first step, as a model with several optimizers
            needs it. False (default) expects to be built with all of them.

    Attributes:
        groups: One `PruningGroup` for each different declaration, with masks, thresholds and
            counts; empty before the optimizer is built.

    Raises:
        ValueError: `inner_optimizer` scales the loss, there is nothing to prune, or a kernel is not
            among the variables that the optimizer is built with.
        TypeError: `inner_optimizer` is no optimizer, or `prune` nothing that was wrapped.

    >>> import keras, tfshed
    >>> net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="head")], name="net")
    >>> model = tfshed.prune_low_magnitude(net, tfshed.ConstantSparsity(0.5, 0))
    >>> optimizer = tfshed.PruningOptimizer("sgd", model)
    >>> optimizer.build(model.trainable_variables)
    >>> [kernel.path for kernel in optimizer.groups[0].kernels]
    ['net/head/kernel']
    """

    def __init__(
        self,
        inner_optimizer: keras.optimizers.Optimizer | str,
        prune: keras.Layer | Sequence[keras.Layer | PruningGroup] | None = None,
        mask_gradients: bool | str = "auto",
        name: str | None = None,
        start: str = "auto",
        only_stepped: bool = False,
        **kwargs: Any,
    ):
        if not isinstance(mask_gradients, bool) and str(mask_gradients) != "auto":
            raise ValueError(
                f'mask_gradients: expected True, False or "auto", received {mask_gradients!r}'
            )
        check_start(start)
        check_bool("only_stepped", only_stepped)
        check_name(name)
        check_to_prune(prune)
        saved = kwargs.pop("groups", None)
        if kwargs:
            raise TypeError(f"PruningOptimizer got unknown arguments {sorted(kwargs)}")
        super().__init__(inner_optimizer, name)
        if isinstance(self.inner_optimizer, PruningOptimizer):
            raise ValueError(
                "inner_optimizer: expected one that does not prune, received a PruningOptimizer"
            )
        self.mask_gradients = mask_gradients
        # The kernels are looked up when this is built, since the model may have no variables yet.
        # `prune` is kept in a function, where Keras does not find it: to load weights, Keras walks
        # through all that an optimizer holds, and from the model it would come back here forever.
        private.set_untracked(
            self,
            _prune=lambda: prune,
            _saved=saved,
            groups=[],
            # Weights that were set before the build.
            _early_weights=None,
            _model=None,
            _start=start,
            _only_stepped=only_stepped,
            _claimed=False,
            _inner_apply=self.inner_optimizer.apply,
            # Callbacks warn through it, so that each warning is given once for an optimizer.
            warn_once=WarnOnce(),
        )

    def build(self, variables: Sequence[keras.Variable]) -> None:
        variables = list(variables)
        # Keras' HDF5 loader builds optimizers with no variables at all: wait for the real ones.
        if self.built or (not variables and self._prune() is None):
            return
        private.set_untracked(self, _keys={self._key_of(v): i for i, v in enumerate(variables)})
        groups = find_groups(self._prune(), self._saved, variables, self._has, self._only_stepped)
        if not self.inner_optimizer.built:
            self.inner_optimizer.build(variables)
        private.track_attributes(self.inner_optimizer)
        private.set_untracked(self, groups=[], _places={})
        number_positions(groups)
        for group in groups:
            self._add_group(group)
        super().build(variables)
        private.set_untracked(self, _inner_apply=redirect(self.inner_optimizer, self))
        if not self._only_stepped:
            self.claim()
        if self._early_weights is not None:
            self.set_weights(self._early_weights)
            private.set_untracked(self, _early_weights=None)

    def _add_group(self, group: PruningGroup) -> None:
        # HDF5 files need names that differ between groups.
        with keras.name_scope(f"group_{len(self.groups)}"):
            group.build(self._add_variable_like, self._start)
        self.groups.append(group)
        for i, kernel in enumerate(group.kernels):
            self._places[self._key_of(kernel.variable)] = (group, i)

    def _add_variable_like(self, shape: Any, like: Any = None, **options: Any) -> Any:
        """Adds a variable laid out over devices as `like` is, as far as its shape allows."""
        layout = None if like is None else private.layout_like(like, shape)
        if layout is not None:
            options["layout"] = layout
        return self.add_variable(shape, **options)

    def add_group(self, group: PruningGroup) -> None:
        """Prunes one more group from now on; its kernels must be in no other group."""
        number_positions([*self.groups, group])
        self._add_group(group)
        self.claim()

    def remove_group(self, group: PruningGroup) -> None:
        """Stops pruning a group that `add_group` added, and gives its kernels up."""
        self.groups.remove(group)
        for kernel in group.kernels:
            del self._places[self._key_of(kernel.variable)]
        for variable in group.variables:
            private.untrack(self, variable)
        release([k.variable for k in group.kernels], note=False)

    @property
    def waits_for_kernels(self) -> bool:
        """Whether this optimizer does not know yet which kernels it prunes."""
        return not self.built or not self._claimed

    @property
    def prunes(self) -> bool:
        """Whether a step of the inner optimizer must go through this one."""
        owners = (owner_of(k.variable) for group in self.groups for k in group.kernels)
        return self.waits_for_kernels or any(o is not None and o.optimizer is self for o in owners)

    def put_into(self, model: keras.Model) -> None:
        """Notes that a model steps with this optimizer, or with one around it."""
        if self._model is None or self._model() is not model:
            private.set_untracked(self, _model=weakref.ref(model))
            transfer(self, model)

    def resume(self, start: str = "auto") -> None:
        """Makes this optimizer the owner of its kernels, before it is used again.

        Masks follow weights that were set or restored since its last step, unless `start` says
        otherwise; see `tfshed.UpdatePruningStep`.
        """
        private.set_untracked(self, _start=start)
        for group in self.groups if self.built else ():
            owners = [owner_of(k.variable) for k in group.kernels]
            mine = all(owner is not None and owner.state is group.state for owner in owners)
            if start != "auto" or not mine or disagreement(group.kernels) is not None:
                group.begin(start)
        if self.built and not self._only_stepped:
            self.claim()

    def claim(self) -> None:
        """Makes this optimizer the owner of the kernels of all its groups."""
        model = None if self._model is None else self._model()
        for group in self.groups:
            claim(self, group.state, [k.variable for k in group.kernels], model)
        private.set_untracked(self, _claimed=True)

    def release(self, note: bool = True) -> None:
        """Gives up all kernels; the inner optimizer then steps by itself again.

        Args:
            note: Whether tfshed remembers that the zeros of the kernels are pruned weights.
        """
        release(owned_by(self), note)
        restore(self.inner_optimizer, self)

    def was_built_with(self, variable: keras.Variable) -> bool:
        """Whether this optimizer steps a variable; False before it is built."""
        return self.built and self._has(variable)

    def _has(self, variable: keras.Variable) -> bool:
        """Whether this optimizer is, or is being, built with a variable."""
        return self._key_of(variable) in self._keys

    def _key_of(self, variable: Any) -> Any:
        return private.variable_key(self, variable)

    def set_weights(self, weights: Sequence[Array]) -> None:
        """Sets all of `variables`; before the build, as soon as there are any.

        Raises:
            ValueError: other numbers or shapes than those of `variables`.
        """
        values = [np.asarray(w) for w in weights]
        if not self.built:
            # Keras' HDF5 loader has the state when the variables are not known yet.
            private.set_untracked(self, _early_weights=values)
            return
        assign_all(variables_in_file(self.variables, self.groups, len(values)), values)

    def load_own_variables(self, store: Any) -> None:
        variables = variables_in_file(private.made_by(self), self.groups, len(store.keys()))
        if len(store.keys()) != len(variables):
            raise ValueError(
                f"pruning state: expected {len(private.made_by(self))} arrays for this model and "
                f"pruning configuration, received {len(store.keys())}"
            )
        for i, variable in enumerate(variables):
            variable.assign(store[str(i)])

    def apply(
        self,
        grads: Sequence[Array],
        trainable_variables: Sequence[keras.Variable] | None = None,
    ) -> None:
        if not self.built:
            # Inside of a TensorFlow graph the kernels have no values to begin with.
            with keras.name_scope(self.name), init_scope():
                self.build(list(trainable_variables or ()))
        check_sole_owner(self, [k for group in self.groups for k in group.kernels])
        if not self._claimed:
            self.claim()
        variables = list(trainable_variables or private.trained_by(self))
        step = ops.cast(self.inner_optimizer.iterations, "int32") + 1
        grads, keys = list(grads), [self._key_of(v) for v in variables]
        # Before the inner optimizer's step, which may use up the gradients.
        seen = self._seen_by_criteria(dict(zip(keys, grads)))
        before = {
            id(g): g.prune(step, *seen.get(id(g), ())) for g in self.groups if g.config.monotone
        }
        grads = gradients_for_inner(
            self.inner_optimizer, self.mask_gradients, grads, keys, self._places, before
        )
        self._inner_apply(grads, trainable_variables)
        # Masks that are made anew rank what the whole step made of the weights: of accumulated
        # gradients only the last ones finish it.
        done = ops.cast(self.inner_optimizer.iterations, "int32")
        for group in self.groups:
            masks = before.get(id(group))
            if masks is None:
                masks = group.prune(done, *seen.get(id(group), ()))
            group.shed(step, masks)
        prune_averages(self.inner_optimizer, self._places, self._key_of)

    def _seen_by_criteria(self, given: dict[Any, Any]) -> dict[int, tuple[Any, Any]]:
        """Gradients and slots for the groups whose criterion needs them, by their identity."""
        inner, trained = self.inner_optimizer, private.trained_by(self)
        return {
            id(group): seen_by_criterion(group, inner, trained, given, self._key_of)
            for group in self.groups
            if group.needs
        }

    def finalize_variable_values(self, var_list: Any) -> None:
        # The moving average of a weight that was pruned meanwhile is not zero.
        self.inner_optimizer.finalize_variable_values(var_list)
        for group in self.groups:
            group.write_zeros()

    def get_config(self) -> dict[str, Any]:
        groups = [g.get_config(lambda v: self._keys[self._key_of(v)]) for g in self.groups]
        return {
            "name": self.name,
            "inner_optimizer": keras.saving.serialize_keras_object(self.inner_optimizer),
            "mask_gradients": self.mask_gradients,
            "groups": groups or self._saved,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> PruningOptimizer:
        config = dict(config)
        inner = keras.saving.deserialize_keras_object(
            config.pop("inner_optimizer"), custom_objects=custom_objects
        )
        return cls(inner, **config)


def pruning_optimizer(optimizer: Any) -> PruningOptimizer | None:
    """The `PruningOptimizer` in a chain of wrapped optimizers; None if there is none."""
    return next((each for each in chain(optimizer) if isinstance(each, PruningOptimizer)), None)
