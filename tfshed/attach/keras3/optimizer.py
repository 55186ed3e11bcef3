"""A Keras optimizer that prunes: it wraps the user's own, as `LossScaleOptimizer` does.

Why here and not in layers or callbacks: one place sees all kernels after every step, inside the
compiled step, on every backend and every replica; and what it keeps is saved with the optimizer.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfshed.attach.agreement import disagreement
from tfshed.attach.gradients import gradients_for_criterion
from tfshed.attach.group import PruningGroup, number_positions
from tfshed.attach.keras3 import private
from tfshed.attach.keras3.declarations import groups_of
from tfshed.attach.keras3.redirect import redirect, restore
from tfshed.attach.keras3.slots import slots_of
from tfshed.attach.mixing import mixes_elements
from tfshed.attach.notices import WarnOnce
from tfshed.attach.ownership import chain, claim, owned_by, owner_of, release, transfer
from tfshed.attach.starting import check_start
from tfshed.core.backend import init_scope, read, to_numpy


@keras.saving.register_keras_serializable(package="tfshed")
class PruningOptimizer(keras.optimizers.Optimizer):
    """Prunes, lets the inner optimizer step, sheds, and leaves exact zeros, in every `apply`.

    `tfshed.UpdatePruningStep` puts it around the compiled optimizer; a custom training loop makes
    it itself. Inside a `LossScaleOptimizer` it belongs around the innermost one, so that a skipped
    step is no pruning step. It counts optimizer steps, not micro-steps of gradient accumulation.

    Args:
        inner_optimizer: a Keras optimizer, or its name.
        prune: a model (layer, list of layers) from `tfshed.prune_low_magnitude`; its kernels are
            looked up when the optimizer is built. Or a list of `PruningGroup`.
        start: "auto" (default), "continue" or "again": whether to go on with the masks of a run
            before on these kernels, see `tfshed.UpdatePruningStep`.
        only_stepped: whether to prune only those declared kernels that this optimizer is built
            with, and to become their owner in its first step. For a model that is trained by
            several optimizers; default False.
        mask_gradients: whether the inner optimizer sees zero gradients for pruned weights. "auto"
            (default): only where it mixes elements (clipnorm, global_clipnorm, Adafactor, Lamb,
            Muon), since otherwise it changes nothing.

    Attributes:
        groups: list of `PruningGroup`, once built: masks, thresholds and counts.

    Raises:
        ValueError: a `LossScaleOptimizer` inside, nothing to prune, or a kernel that is not
            trainable here. TypeError: no optimizer, or `prune` nothing that was wrapped.

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
        inner_optimizer: Any,
        prune: Any = None,
        mask_gradients: bool | str = "auto",
        name: str | None = None,
        start: str = "auto",
        only_stepped: bool = False,
        **kwargs: Any,
    ):
        inner = keras.optimizers.get(inner_optimizer)
        if isinstance(inner, keras.optimizers.LossScaleOptimizer):
            raise ValueError(
                "inner_optimizer: expected an optimizer without loss scaling, received a "
                "LossScaleOptimizer. Wrap its inner_optimizer: "
                "LossScaleOptimizer(PruningOptimizer(...))."
            )
        if isinstance(inner, PruningOptimizer):
            raise ValueError(
                "inner_optimizer: expected one that does not prune, received a PruningOptimizer"
            )
        if mask_gradients not in (True, False, "auto"):
            raise ValueError(
                f'mask_gradients: expected True, False or "auto", received {mask_gradients!r}'
            )
        check_start(start)
        if isinstance(prune, (list, tuple)) and not prune:
            raise ValueError(
                "prune: expected a model, layers or PruningGroups to prune, received an empty list"
            )
        saved = kwargs.pop("groups", None)
        if kwargs:
            raise TypeError(f"PruningOptimizer got unknown arguments {sorted(kwargs)}")
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer = inner
        self.mask_gradients = mask_gradients
        # Looked up at build: the model may have no variables yet.
        # In a function, where Keras does not find it: loading weights walks all that an optimizer
        # holds, and from the model it would come back here without end.
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
            _inner_apply=inner.apply,
            # Callbacks warn through it, so that each warning is given once for an optimizer.
            warn_once=WarnOnce(),
        )

    def build(self, variables: Sequence[Any]) -> None:
        variables = list(variables)
        # Keras' HDF5 loader builds optimizers with no variables at all: wait for the real ones.
        if self.built or (not variables and self._prune() is None):
            return
        private.set_untracked(self, _keys={self._key_of(v): i for i, v in enumerate(variables)})
        groups = self._find_groups(variables)
        if not self.inner_optimizer.built:
            self.inner_optimizer.build(variables)
        private.track_attributes(self.inner_optimizer)
        private.set_untracked(self, groups=[], _slots={})
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
            group.build(self.add_variable, self._start)
        self.groups.append(group)
        for i, kernel in enumerate(group.kernels):
            self._slots[self._key_of(kernel.variable)] = (group, i)

    def add_group(self, group: PruningGroup) -> None:
        """Prunes by one group more from now on, on kernels that are in no group yet."""
        number_positions([*self.groups, group])
        self._add_group(group)
        self.claim()

    def remove_group(self, group: PruningGroup) -> None:
        """Lets a group go that `add_group` added."""
        self.groups.remove(group)
        for kernel in group.kernels:
            del self._slots[self._key_of(kernel.variable)]
        for variable in group.variables:
            private.untrack(self, variable)
        release([k.variable for k in group.kernels], note=False)

    @property
    def waits_for_kernels(self) -> bool:
        """Whether the kernels that this optimizer prunes are not known yet."""
        return not self.built or not self._claimed

    @property
    def prunes(self) -> bool:
        """Whether a step of the inner optimizer must go through this one."""
        owners = (owner_of(k.variable) for group in self.groups for k in group.kernels)
        return self.waits_for_kernels or any(o is not None and o.optimizer is self for o in owners)

    def put_into(self, model: Any) -> None:
        """Notes that this is the optimizer, or inside an optimizer, of a model."""
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
        """Gives up all kernels, and the inner optimizer is on its own again.

        Args:
            note: whether zeros under the masks are to be known as pruned weights later.
        """
        release(owned_by(self), note)
        restore(self.inner_optimizer, self)

    def steps(self, variable: Any) -> bool:
        """Whether this optimizer was built with a variable."""
        return self.built and self._key_of(variable) in self._keys

    def _check_owner(self) -> None:
        """Raises RuntimeError if another optimizer prunes a kernel of this one."""
        for kernel in (k for group in self.groups for k in group.kernels):
            owner = owner_of(kernel.variable)
            if owner is not None and owner.optimizer is not self and owner.in_use:
                raise RuntimeError(
                    f"{kernel.path} is stepped by {self.name}, but {owner.optimizer.name} prunes "
                    "it: expected one optimizer for each kernel. Train with the one that was made "
                    "last, or call tfshed.strip_pruning(model) and declare anew."
                )

    def _find_groups(self, variables: list[Any]) -> list[PruningGroup]:
        prune = self._prune()
        if isinstance(prune, (list, tuple)) and isinstance(prune[0], PruningGroup):
            groups = list(prune)
        elif prune is not None:
            groups = groups_of(prune)
        elif self._saved is not None:
            groups = [PruningGroup.from_config(g, variables) for g in self._saved]
        else:
            raise ValueError(
                "PruningOptimizer: expected prune=model, a model from "
                "tfshed.prune_low_magnitude(...), received None"
            )
        if self._only_stepped:
            known = lambda kernel: self._key_of(kernel.variable) in self._keys  # noqa: E731
            own = [(group, list(filter(known, group.kernels))) for group in groups]
            return [group.restricted_to(kernels) for group, kernels in own if kernels]
        strangers = [
            k.path for g in groups for k in g.kernels if self._key_of(k.variable) not in self._keys
        ]
        if strangers:
            raise ValueError(
                "PruningOptimizer: expected every kernel to prune among the trainable variables it "
                f"is built with; these are not: {strangers}"
            )
        return groups

    def _key_of(self, variable: Any) -> Any:
        return private.variable_key(self, variable)

    @property
    def variables(self) -> list[Any]:
        return [*private.made_by(self), *self.inner_optimizer.variables]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Sets all of `variables`; before the build, as soon as there are any.

        Raises:
            ValueError: other numbers or shapes than those of `variables`.
        """
        values = [np.asarray(w) for w in weights]
        if not self.built:
            # Keras' HDF5 loader has the state when the variables are not known yet.
            private.set_untracked(self, _early_weights=values)
            return
        variables = self._in_file(self.variables, len(values))
        found, wanted = [w.shape for w in values], [tuple(v.shape) for v in variables]
        if found != wanted:
            raise ValueError(f"optimizer state: expected shapes {wanted}, received {found}")
        for variable, value in zip(variables, values):
            variable.assign(value)

    def _in_file(self, variables: list[Any], arrays: int) -> list[Any]:
        """Which of `variables` a file with so many arrays has."""
        if arrays == len(variables):
            return list(variables)
        # Files that were written before groups counted events.
        later = {id(group.events) for group in self.groups}
        return [v for v in variables if id(v) not in later]

    # The inner optimizer is saved by its own walk: its state would be written twice otherwise.
    def save_own_variables(self, store: Any) -> None:
        for i, variable in enumerate(private.made_by(self)):
            store[str(i)] = to_numpy(variable)

    def load_own_variables(self, store: Any) -> None:
        variables = self._in_file(private.made_by(self), len(store.keys()))
        if len(store.keys()) != len(variables):
            raise ValueError(
                f"pruning state: expected {len(private.made_by(self))} arrays for this model and "
                f"pruning configuration, received {len(store.keys())}"
            )
        for i, variable in enumerate(variables):
            variable.assign(store[str(i)])

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        if not self.built:
            # Inside of a TensorFlow graph the kernels have no values to begin with.
            with keras.name_scope(self.name), init_scope():
                self.build(trainable_variables)
        self._check_owner()
        if not self._claimed:
            self.claim()
        variables = list(trainable_variables or private.trained_by(self))
        step = ops.cast(self.inner_optimizer.iterations, "int32") + 1
        # Before the inner optimizer's step, which may use up the gradients.
        seen = {id(g): self._seen_by(g, grads, variables) for g in self.groups if g.needs}
        before = {
            id(g): g.prune(step, *seen.get(id(g), ())) for g in self.groups if g.config.monotone
        }
        self._inner_apply(self._gradients(list(grads), variables, before), trainable_variables)
        # Masks that are made anew rank what the whole step made of the weights: of accumulated
        # gradients only the last ones finish it.
        done = ops.cast(self.inner_optimizer.iterations, "int32")
        for group in self.groups:
            masks = before.get(id(group))
            if masks is None:
                masks = group.prune(done, *seen.get(id(group), ()))
            group.shed(step, masks)
        self._prune_averages()

    def _seen_by(
        self, group: PruningGroup, grads: Sequence[Any], variables: list[Any]
    ) -> tuple[list[Any], list[dict[str, Any]] | None]:
        """What the criterion of a group needs of each kernel: gradients and slots."""
        slots = None
        if "slots" in group.needs:
            found = slots_of(self.inner_optimizer, private.trained_by(self))
            slots = [found[self._keys[self._key_of(k.variable)]] for k in group.kernels]
        gradients: list[Any] = []
        if "gradient" in group.needs:
            given = {self._key_of(v): grad for v, grad in zip(variables, grads)}
            gradients = gradients_for_criterion(group.kernels, given, self._key_of)
        return gradients, slots

    def _prune_averages(self) -> None:
        """Writes zeros into the moving averages of pruned weights, of which models are made."""
        for variable, average in private.moving_averages(self.inner_optimizer):
            group, i = self._slots.get(self._key_of(variable), (None, 0))
            if group is not None:
                value = read(average)
                average.assign(ops.where(group.mask_of(i), value, ops.zeros((), value.dtype)))

    @property
    def _model_variables_moving_average(self) -> Any:
        # `keras.callbacks.SwapEMAWeights` looks here if loss scaling is outside.
        return private.averages_list(self.inner_optimizer)

    def _gradients(
        self, grads: list[Any], variables: list[Any], masks: dict[int, Any]
    ) -> list[Any]:
        masked = self.mask_gradients
        if masked == "auto":
            masked = mixes_elements(self.inner_optimizer)
        for j, (grad, variable) in enumerate(zip(grads, variables)):
            group, i = self._slots.get(self._key_of(variable), (None, 0))
            # The gradient of an embedding is sparse in rows: adding to it would make it dense.
            if group is None or grad is None or type(grad).__name__ == "IndexedSlices":
                continue
            if masked or group.config.weight_decay is not None:
                current = masks.get(id(group), group.masks)[i]
                grads[j] = group.gradient(i, grad, current, bool(masked))
        return grads

    def finalize_variable_values(self, var_list: Any) -> None:
        # A moving average over a time before the pruning is dense.
        self.inner_optimizer.finalize_variable_values(var_list)
        for group in self.groups:
            group.write_zeros()

    @property
    def learning_rate(self) -> Any:
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        self.inner_optimizer.learning_rate = learning_rate

    @property
    def iterations(self) -> Any:
        return self.inner_optimizer.iterations

    def scale_loss(self, loss: Any) -> Any:
        return self.inner_optimizer.scale_loss(loss)

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
    """The `PruningOptimizer` in a chain of wrapped optimizers, or None."""
    return next((each for each in chain(optimizer) if isinstance(each, PruningOptimizer)), None)
