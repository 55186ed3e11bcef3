"""Declarations in models that Keras cannot clone, such as subclassed ones: they stay as they are.

A clone would lose a model's own `call` or `train_step`. So such a model gets no wrappers: its
declaration is noted for the model as a whole.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from tfshed.attach.decisions import Decision, decide
from tfshed.attach.kernels import candidates
from tfshed.attach.ownership import was_pruned
from tfshed.attach.rules import Selection
from tfshed.attach.saved_kernels import find_kernels, read_config, saved_kernels
from tfshed.core.config import PruningConfig


@dataclasses.dataclass(frozen=True, eq=False)
class Declaration:
    """What `prune_low_magnitude` declared for a whole model.

    Attributes:
        config: How the model is pruned.
        selection: The user's rules, which decide as soon as the model has variables.
        kernels: The kernels of a model that was read from a file, as `saved_kernels` wrote them.
            They replace the rules, some of which, such as functions, cannot be saved.
        pruned: The numbers of those kernels, among the candidates of a model from a file, of which
            pruning had set weights to zero when it was saved; these zeros are held.
    """

    config: PruningConfig
    selection: Selection
    kernels: Sequence[Any] | None = None
    pruned: Sequence[int] = ()

    def decide(self, model: Any) -> list[Decision]:
        """Decides about every kernel of the model, which has to be built.

        Raises:
            ValueError: a rule matches nothing, or the kernels are others than when it was saved.
        """
        if self.kernels is None:
            decisions = decide(model, self.config, self.selection)
            self.selection.check_used([d.candidate for d in decisions])
            return decisions
        declared = {id(k.variable) for k in find_kernels(model, self.kernels)}
        return [
            Decision(c, True, "")
            if id(c.kernel.variable) in declared
            else Decision(c, False, "not declared when the model was saved")
            for c in candidates(model)
        ]

    def get_config(self, model: Any) -> dict[str, Any]:
        """The declaration as JSON values, with the kernels that it came to in a built model."""
        declared = {id(d.kernel.variable) for d in self.decide(model) if d.pruned}
        return {
            "config": keras.saving.serialize_keras_object(self.config),
            "kernels": saved_kernels(model, declared),
            "pruned": [i for i, c in enumerate(candidates(model)) if was_pruned(c.kernel.variable)],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Declaration:
        pruning = read_config(config["config"], "declaration")
        return cls(pruning, Selection(), config["kernels"], config.get("pruned", ()))
