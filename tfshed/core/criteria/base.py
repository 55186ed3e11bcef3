"""What every criterion is: a way to give each element a score, the lowest of which go first."""

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
    """Base of the criteria: says which elements go first.

    A subclass needs `scores(context)`. It may declare more, and pays for what it declares only:

    Attributes:
        needs: What it looks at besides weights: "gradient", "slots" (the inner optimizer's), or
            both. The context has nothing else.
        keeps: Names of float32 arrays, of the mask's shape, that it keeps for each kernel from step
            to step. They start with zeros, `observe` gives their new values in every step, and they
            are saved with the optimizer.
        signed: Whether scores can be negative; True by default. Where they cannot, False saves a
            pass over the weights at every update.
        grows_threshold: Whether the shedding threshold follows the largest magnitude that was
            pruned. True for magnitude, False for random pruning (section 3.2 of Azarian & Porikli
            2021, arXiv 2103.10629). It makes sense where small elements go first: with a criterion
            that prunes large ones all that is smaller would be shed.
        scores_are_magnitudes: Whether the scores are `context.magnitudes` themselves; False by
            default. True saves a pass over the weights at every update.

    >>> import keras, tfshed
    >>> from keras import ops
    >>> @tfshed.criteria.register("relative")
    ... @keras.saving.register_keras_serializable(package="my_project")
    ... class Relative(tfshed.criteria.Criterion):
    ...     "Magnitude as a part of the kernel's mean, so that layers of all sizes lose alike."
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
        """Returns the score of each element of a kernel; at an update the lowest go.

        Args:
            context: The kernel in this step; its `state` is what `observe` has just returned.

        Returns:
            A float tensor of `context.shape`. A NaN counts as above infinity, and an update for
            which a score that is no finite number would have to go prunes nothing in that scope.
            Or an int32 tensor of values > -2^31, for scores that are no magnitudes of anything.

        Raises:
            NotImplementedError: A subclass did not define it.
        """
        raise NotImplementedError(f"{type(self).__name__} must define scores(context)")

    def observe(self, context: Context) -> Mapping[str, Any]:
        """Returns the new values of what the criterion `keeps`, in every step.

        Args:
            context: The kernel in this step; its `state` is what the step before returned.

        Raises:
            NotImplementedError: A subclass that keeps something did not define it.
        """
        raise NotImplementedError(
            f"{type(self).__name__} keeps {self.keeps} and must define observe(context)"
        )

    def keys(self, scores: Any) -> Any:
        """Returns int32 numbers that order like scores from `scores`."""
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
