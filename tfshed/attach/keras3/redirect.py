"""Steps of an optimizer that was wrapped go through its wrapper, whoever calls them.

A training loop, or a `train_step`, may hold the optimizer that the user made, and not the one that
was put around it. What such a loop calls is redirected.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from tfshed.attach.keras3 import private

NAMES = ("apply", "stateless_apply")


def redirect(inner: Any, wrapper: Any) -> Callable[..., Any]:
    """Sends calls of `inner.apply` and `inner.stateless_apply` to `wrapper`, while it prunes.

    The wrapper is not kept alive by it. A redirection to another wrapper is replaced.

    Returns:
        The `apply` of the inner optimizer itself, which the wrapper is to call.
    """
    own = {name: _own(inner, name) for name in NAMES}
    reference = weakref.ref(wrapper)

    def apply(grads: Any, trainable_variables: Any = None) -> Any:
        outer = reference()
        target = own["apply"] if outer is None or not outer.prunes else outer.apply
        return target(grads, trainable_variables)

    def stateless_apply(optimizer_variables: Any, grads: Any, trainable_variables: Any) -> Any:
        outer = reference()
        if outer is None or not outer.prunes:
            return own["stateless_apply"](optimizer_variables, grads, trainable_variables)
        if len(optimizer_variables) != len(outer.variables):
            raise ValueError(
                f"optimizer_variables: expected the {len(outer.variables)} of the PruningOptimizer "
                f"around {inner.name}, masks among them, received {len(optimizer_variables)}. Take "
                "the variables of model.optimizer, and call its stateless_apply."
            )
        return outer.stateless_apply(optimizer_variables, grads, trainable_variables)

    for name, function in zip(NAMES, (apply, stateless_apply)):
        function.own, function.wrapper = own[name], reference  # type: ignore[attr-defined]
        private.set_untracked(inner, **{name: function})
    return own["apply"]


def _own(inner: Any, name: str) -> Any:
    """A method of an optimizer without any redirection."""
    return getattr(vars(inner).get(name), "own", None) or getattr(inner, name)


def restore(inner: Any, wrapper: Any) -> None:
    """Takes the redirection to `wrapper` away, if it is there."""
    for name in NAMES:
        reference = getattr(vars(inner).get(name), "wrapper", None)
        if reference is not None and reference() is wrapper:
            private.delete_untracked(inner, name)
