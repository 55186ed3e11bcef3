"""Trains a run: its callbacks, the rest of an interrupted epoch, and rollbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tfshed
from tfshed import distribution as distributed
from tfshed.experiments.checkpoints import Checkpoint, Checkpoints
from tfshed.experiments.interruption import InterruptedRunError, StopRequest
from tfshed.experiments.non_finite import NonFiniteError
from tfshed.experiments.retraining.keep_epochs import KeepEpochs
from tfshed.experiments.retraining.sources import EPOCHS
from tfshed.experiments.save_checkpoints import CheckpointRules, SaveCheckpoints
from tfshed.experiments.structured import SoftFilterPruning
from tfshed.observe.progress import Progress
from tfshed.observe.snapshot_file import MASKS


def fit_finite(
    run: Any,
    newest: Checkpoint | None,
    checkpoints: Checkpoints,
    request: StopRequest,
    print_fn: Callable[[str], None],
) -> None:
    """Trains to the end. After NaN it rolls back to a checkpoint, if the recipe asks for it.

    Args:
        run: A `tfshed.experiments.Run` whose model is in the state of `newest`.
        newest: The checkpoint from which the run resumes, or None.
        checkpoints: The folder of checkpoints.
        request: Tells whether the run should stop.
        print_fn: Prints a message about each rollback.

    Raises:
        NonFiniteError: Something is NaN or infinite, and the recipe allows no (further) rollback.
        InterruptedRunError: A signal has stopped the run.
    """
    given = run.config.non_finite
    while True:
        try:
            return fit(run, newest, checkpoints, request)
        except NonFiniteError as error:
            if given.action != "rollback" or run.rollbacks >= given.retries:
                raise
            run.rollbacks += 1
            factor = given.rate_factor**run.rollbacks
            # If the run has failed twice from the same checkpoint, an older one is used: its
            # numbers are finite, but the net may already diverge.
            again = newest is not None and error.checkpoint == newest.info["step"]
            newest = checkpoints.newest(before=error.checkpoint if again else None)
            step = 0 if newest is None else newest.info["step"]
            what = str(error).partition(";")[0]
            print_fn(f"\n{what}. Back to step {step}, with {factor:g} times the learning rate.")
            run.remake()
            run.go_to(newest)


def fit(
    run: Any, newest: Checkpoint | None, checkpoints: Checkpoints, request: StopRequest
) -> None:
    """Trains from `newest` to the end; arguments and errors as in `fit_finite`."""
    start = 0 if newest is None else newest.info["step"]
    epoch, offset = divmod(start, run.steps_per_epoch)
    chief = run.distribution.is_chief
    callbacks: list[Any] = [tfshed.UpdatePruningStep()] if run.prunes else []
    if run.phase.soft_filters:
        callbacks.append(SoftFilterPruning(run.phase.soft_filters))
    keep_ratio = tfshed.KeepRatio(
        run.path if chief else None,
        validation_data=run.validation_data() if run.config.prune.evaluate_updates else None,
    )
    callbacks.append(keep_ratio)
    snapshots = run.config.snapshots
    if chief and run.prunes and (snapshots.every_epochs or snapshots.every_updates):
        callbacks.append(
            tfshed.MaskSnapshots(
                run.path / MASKS,
                every_epochs=snapshots.every_epochs,
                every_updates=snapshots.every_updates,
                weights=snapshots.weights,
            )
        )
    if chief and run.config.checkpoint.keep_epochs:
        callbacks.append(KeepEpochs(run.config.checkpoint.keep_epochs, run.path / EPOCHS))

    def info() -> dict[str, Any]:
        rows = keep_ratio.history
        last = rows[-1]["step"] if rows else 0
        return {"rows": len(rows), "last_row": last, "rollbacks": run.rollbacks}

    given, watch = run.config.checkpoint, run.config.non_finite
    rules = CheckpointRules(
        run.steps_per_epoch,
        every_epochs=given.every_epochs,
        every_steps=given.every_steps,
        best=given.best or ("val_accuracy" if run.config.data.held_out else ""),
        watch_every_steps=watch.every_steps,
        go_on=watch.action == "go_on",
    )
    callbacks.append(
        SaveCheckpoints(
            checkpoints,
            run.metrics,
            rules,
            resumed=newest,
            request=request,
            info=info,
            write=chief,
            workers=run.distribution.worker_count,
        )
    )
    if chief:
        shown = ("loss", "accuracy", "val_accuracy", *(("keep_actual",) if run.prunes else ()))
        callbacks.append(Progress(run.label, shown, total=run.total_steps, start=start))
    data = run.train_data(start)
    options = {"validation_data": run.validation_data(), "callbacks": callbacks}
    try:
        if offset:
            # First, finish the epoch that was interrupted.
            rest = run.steps_per_epoch - offset
            first, data = data.take(rest), data.skip(rest)
            distributed.fit(
                run.model,
                first,
                epochs=epoch + 1,
                initial_epoch=epoch,
                steps_per_epoch=rest,
                **options,
            )
            epoch += 1
        if epoch < run.phase.epochs:
            distributed.fit(
                run.model,
                data,
                epochs=run.phase.epochs,
                initial_epoch=epoch,
                steps_per_epoch=run.steps_per_epoch,
                **options,
            )
    except (NonFiniteError, InterruptedRunError):
        raise
    except Exception as error:
        why = run.data.explain(error)
        if why is None:
            raise
        raise ValueError(why) from error
