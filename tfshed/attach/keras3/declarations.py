"""What `prune_low_magnitude` declared in a model: wrappers, and marks on subclassed models."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tfshed.attach.decisions import pruned_kernels
from tfshed.attach.declared import declaration_of, put_report
from tfshed.attach.group import PruningGroup
from tfshed.attach.keras3.private import layers_in
from tfshed.attach.keras3.wrapper import PruneLowMagnitude
from tfshed.attach.kernels import Candidate, Kernel, candidates
from tfshed.attach.ownership import note_pruned
from tfshed.core.backend import to_numpy
from tfshed.core.config import PruningConfig

# A kernel with no more zeros than this fraction is taken as not pruned.
FEW_ZEROS = 0.05


def check_layer(to_prune: Any, name: str = "to_prune") -> None:
    """Raises TypeError for anything but a Keras 3 layer or model; `name` is the argument's."""
    if isinstance(to_prune, keras.layers.Layer):
        return
    kind = type(to_prune)
    names = {base.__module__.split(".")[0] for base in kind.__mro__}
    if "tf_keras" in names:
        raise TypeError(
            f"expected a Keras 3 model or layer, received the Keras 2 {kind.__name__} of tf_keras. "
            "Use tfshed.tfmot for it, such as tfshed.tfmot.UpdatePruningStep."
        )
    raise TypeError(
        f"{name}: expected a Keras model, a Keras layer or a list of layers, received "
        f"{kind.__module__}.{kind.__name__}"
    )


def check_stripped(model: Any, caller: str) -> None:
    """Raises ValueError for a model with pruning wrappers in it."""
    for layer in layers_in(model):
        if isinstance(layer, PruneLowMagnitude):
            raise ValueError(
                f"{caller}: expected a model without pruning wrappers, received {layer.name!r}. "
                "Call tfshed.strip_pruning(model) first."
            )


def declarations(model: Any) -> Iterator[tuple[PruningConfig, list[Kernel]]]:
    """What `prune_low_magnitude` declared in a model, layer or list: configs with their kernels.

    Raises:
        TypeError: `model` is not a model, layer or list of layers.
        ValueError: A marked model is not built.
    """
    for layer in declaring(model):
        if isinstance(layer, PruneLowMagnitude):
            yield layer.config, [k for k in layer.chosen_kernels() if k.variable.trainable]
            continue
        declaration = declaration_of(layer)
        assert declaration is not None
        if not layer.built:
            raise ValueError(
                f"{layer.name} is not built: expected variables to prune, found none. Call the "
                "model once, or model.build(input_shape)."
            )
        decisions = declaration.decide(layer)
        put_report(layer, decisions)
        yield declaration.config, pruned_kernels(decisions)


def frozen_kernels(model: Any) -> list[Kernel]:
    """The declared kernels of a model that are not pruned now, since they are not trained now."""
    found: list[Kernel] = []
    for layer in declaring(model):
        if isinstance(layer, PruneLowMagnitude):
            found += [k for k in layer.chosen_kernels() if not k.variable.trainable]
        elif layer.built:
            declaration = declaration_of(layer)
            assert declaration is not None
            decisions = declaration.decide(layer)
            found += [d.kernel for d in decisions if d.pruned and d.candidate.frozen]
    return found


def declaring(model: Any) -> Iterator[Any]:
    """The wrappers and marked models in a model, layer or list of layers, built or not.

    Raises:
        TypeError: `model` is not a model, layer or list of layers.
    """
    for part in model if isinstance(model, (list, tuple)) else [model]:
        check_layer(part)
        for layer in layers_in(part):
            if isinstance(layer, PruneLowMagnitude) or declaration_of(layer) is not None:
                yield layer


def observes(model: Any) -> bool:
    """Whether something in a model, layer or list of layers is declared with `observe=True`."""
    return any(_config_of(layer).observe for layer in declaring(model))


def _config_of(layer: Any) -> PruningConfig:
    """The configuration of a wrapper or marked model."""
    if isinstance(layer, PruneLowMagnitude):
        config: PruningConfig = layer.config
        return config
    declaration = declaration_of(layer)
    assert declaration is not None
    return declaration.config


def declares_some(model: Any) -> bool:
    """Whether anything is declared in a model; if not, it warns.

    Raises:
        ValueError: nothing is declared, but kernels hold zeros as pruning leaves them, which
            training would fill. A model that lost its declaration in a file looks like this.
    """
    if any(True for _ in declaring(model)):
        return True
    sparse = [c.kernel.path for c in candidates(model) if c.named_as_kernel and _looks_pruned(c)]
    if sparse:
        raise ValueError(
            f"expected a model from tfshed.prune_low_magnitude(...), received {model.name}, which "
            f"declares nothing to prune, and whose kernels hold zeros that training would fill: "
            f"{', '.join(sparse[:5])}. Call prune_low_magnitude(model, schedule) again to prune it "
            "further, or train it with tfshed.KeepZeros()."
        )
    warnings.warn(
        f"{model.name} declares nothing to prune and is trained as it is; "
        "tfshed.prune_low_magnitude(model, schedule) returns one that is pruned.",
        stacklevel=5,
    )
    return False


def _looks_pruned(candidate: Candidate) -> bool:
    """Whether a kernel has zeros, more than chance makes, and is not zero as a whole."""
    zero = float(np.mean(to_numpy(candidate.kernel.variable) == 0))
    return FEW_ZEROS < zero < 1.0


def groups_of(model: Any) -> list[PruningGroup]:
    """The pruning groups that `prune_low_magnitude` declared in a model, layer or list of layers.

    Raises:
        TypeError: `model` is not a model, layer or list of layers.
        ValueError: It declares nothing, or what it declares is not built, does not fit the
            granularity or is frozen.
    """
    for layer in declaring(model):
        _note_saved(layer)
    by_key: dict[str, tuple[PruningConfig, list[Kernel]]] = {}
    seen: set[int] = set()
    for config, kernels in declarations(model):
        entry = by_key.setdefault(config.key(), (config, []))
        for kernel in kernels:
            if id(kernel.variable) not in seen:
                seen.add(id(kernel.variable))
                entry[1].append(kernel)
    groups = [PruningGroup(config, kernels) for config, kernels in by_key.values() if kernels]
    if not groups:
        raise ValueError(
            "nothing to prune: expected a model with kernels declared by "
            f"tfshed.prune_low_magnitude(...), received one with none. {_why_none(model)}"
        )
    return groups


def _why_none(model: Any) -> str:
    """Why nothing that is declared in a model can be pruned now."""
    frozen = [kernel.path for kernel in frozen_kernels(model)]
    if frozen:
        return f"What is declared is frozen: {frozen}. Set layer.trainable = True, and compile."
    wrappers = [x for x in declaring(model) if isinstance(x, PruneLowMagnitude) and x.layer.built]
    left = [d for wrapper in wrappers for d in wrapper.decide() if d.reason]
    return "; ".join(f"{d.path}: {d.reason}" for d in left) or "Nothing is declared in it."


def _note_saved(layer: Any) -> None:
    """Notes from which kernels weights had been pruned when a layer or model was saved."""
    if isinstance(layer, PruneLowMagnitude):
        for kernel, pruned in zip(layer.chosen_kernels(), layer.saved_pruned):
            if pruned:
                note_pruned(kernel.variable)
        return
    declaration = declaration_of(layer)
    for i in declaration.pruned if declaration is not None else ():
        note_pruned(candidates(layer)[i].kernel.variable)
