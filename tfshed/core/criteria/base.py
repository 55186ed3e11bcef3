"""The base of all criteria, which give each element a score; the lowest are pruned first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import keras

from tfshed.core.backend import bits, signed_bits
from tfshed.core.criteria.context import Context
from tfshed.core.registry import Registry

CRITERIA: Registry[type[Criterion]] = Registry("criterion")
register = CRITERIA.register

NEEDS = ("gradient", "slots")


class Criterion:
    """Base of the criteria, which decide which elements are pruned first.

    A subclass must define `scores(context)`. It may set the following class attributes; what is not
    asked for here costs nothing:

    Attributes:
        needs: What it looks at besides the weights: "gradient", "slots" (the state that the inner
            optimizer has for the kernel, such as momentum), or both. Default: neither.
        keeps: Names of float32 arrays, in the mask's shape, that are kept for each kernel from step
            to step. They start as zeros, `observe` returns their new values in every step, and they
            are saved with the optimizer. Default: none.
        signed: Whether scores can be negative. Default True; False saves a pass over the weights at
            every update.
        grows_threshold: Whether the threshold grows to the largest magnitude that was pruned: True
            for magnitude, False for random pruning (section 3.2 of Azarian & Porikli 2021,
            arXiv 2103.10629). Default False. It must be False for a criterion that prunes large
            elements, since all smaller ones would be shed.
        scores_are_magnitudes: Whether the scores are `context.magnitudes` themselves. Default
            False; True saves a pass over the weights at every update.

    >>> import keras, tfshed
    >>> from keras import ops
    >>> @tfshed.criteria.register("relative")
    ... @keras.saving.register_keras_serializable(package="my_project")
    ... class Relative(tfshed.criteria.Criterion):
    ...     "Magnitude relative to the kernel's mean, so that layers with small weights survive."
    ...
    ...     signed = False
    ...
    ...     def scores(self, context):
    ...         return context.magnitudes / ops.mean(context.magnitudes)
    >>> net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> kernel = tfshed.sparsify(net, 0.75, criterion="relative").get_weights()[0]
    >>> int((kernel != 0).sum())
    8
    """

    needs: ClassVar[tuple[str, ...]] = ()
    keeps: ClassVar[tuple[str, ...]] = ()
    signed: ClassVar[bool] = True
    grows_threshold: ClassVar[bool] = False
    scores_are_magnitudes: ClassVar[bool] = False

    def scores(self, context: Context) -> Any:
        """Returns the score of each element of a kernel. An update prunes the lowest.

        Args:
            context: The kernel in this step. Its `state` is what `observe` has just returned.

        Returns:
            A float tensor of `context.shape`, or an int32 tensor with values > -2^31. A NaN ranks
            above infinity. If an update would have to prune an element whose score is not finite,
            it prunes nothing in that scope.

        Raises:
            NotImplementedError: A subclass did not define it.
        """
        raise NotImplementedError(f"{type(self).__name__} must define scores(context)")

    def observe(self, context: Context) -> Mapping[str, Any]:
        """Returns the new values of the arrays that the criterion `keeps`; called in every step.

        Args:
            context: The kernel in this step. Its `state` is what the previous step returned.

        Raises:
            NotImplementedError: A subclass that keeps arrays did not define it.
        """
        raise NotImplementedError(
            f"{type(self).__name__} keeps {self.keeps} and must define observe(context)"
        )

    def keys(self, scores: Any) -> Any:
        """Returns int32 numbers that order like these scores, which came from `scores`."""
        if "int" in keras.backend.standardize_dtype(scores.dtype):
            return scores
        return signed_bits(scores) if self.signed else bits(scores)

    def get_config(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Criterion:
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((type(self), tuple(sorted(self.get_config().items()))))

    def __repr__(self) -> str:
        args = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items())
        return f"{type(self).__name__}({args})"
