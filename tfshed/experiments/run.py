"""One run: a phase of a recipe on data, resumable, with everything it writes in one folder."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

import tfshed
from tfshed import datasets, models
from tfshed import distribution as distributed
from tfshed.attach.keras3.wrapping import ensure_pruning
from tfshed.experiments import from_recipe
from tfshed.experiments.checkpoints import Checkpoint, Checkpoints
from tfshed.experiments.controls import controlled
from tfshed.experiments.fit_run import fit_finite
from tfshed.experiments.initial_weights import FINAL, weights_file
from tfshed.experiments.interruption import InterruptedRunError, StopRequest, stop_request
from tfshed.experiments.match_scale import match_scale
from tfshed.experiments.model_state import capture, paths, restore
from tfshed.experiments.non_finite import non_finite
from tfshed.experiments.recipe_check import AS_STRATEGY
from tfshed.experiments.recorded import comparable, missing_rows, read_json
from tfshed.experiments.results import as_json, results, results_table
from tfshed.experiments.retraining.smaller_net import copy_of
from tfshed.experiments.retraining.sources import at_epoch, read_weights
from tfshed.experiments.retraining.starting_point import (
    StartingPoint,
    check_training,
    put_start,
    starting_point,
)
from tfshed.experiments.retraining.strategies import STRATEGIES
from tfshed.experiments.run_lock import run_lock
from tfshed.experiments.scaling import scaled
from tfshed.experiments.settings import Settings
from tfshed.experiments.structured import put_scale_penalty
from tfshed.observe.replace_file import replace_file
from tfshed.observe.run_directory import RunDirectory

RESULTS, BEFORE = "results.json", "before.json"


class Run:
    """A run that is ready to start: data, model and pruning are made, and nothing is written yet.

    Args:
        settings: What to run.
        distribution: What `tfshed.distribution.setup` returns. None (default) means one device.
        label: What the line of progress begins with. None (default) means phase and network.

    Raises:
        ValueError, FileNotFoundError: The data, the model or the recipe is not as it has to be.
            Nothing is written then.

    Example, a small run on the digits that come with scikit-learn:
        >>> import tempfile
        >>> from tfshed.experiments import Run, Settings, recipe
        >>> config = recipe()
        >>> config.model.name, config.train.epochs, config.data.fraction = "lenet_300_100", 1, 0.3
        >>> folder = tempfile.mkdtemp()
        >>> found = Run(Settings("train", config, folder)).run(print_fn=lambda text: None)
        train lenet_300_100  3/3 steps ... accuracy ...
        >>> found["steps"], sorted(path.name for path in Path(folder).glob("*.keras"))
        (3, ['model.keras'])
    """

    def __init__(
        self,
        settings: Settings,
        distribution: distributed.Distribution | None = None,
        label: str | None = None,
    ):
        self.settings = settings
        self.label = label or f"{settings.phase} {settings.config.model.name}"
        self.distribution = distribution or distributed.setup("one_device")
        self.config = controlled(scaled(settings.config))
        self.phase = self.config[settings.phase]
        self.prunes, self.retrains = settings.phase == "prune", settings.phase == "retrain"
        self.path = Path(settings.workdir)
        keras.config.set_dtype_policy(settings.precision)
        keras.utils.set_random_seed(settings.seed)
        if settings.deterministic:
            _ask_for_determinism()
        data = self.config.data
        self.data = datasets.load(data.name, data_dir=settings.data_dir, image_size=data.image_size)
        if data.held_out:
            self.data = self.data.with_held_out(data.held_out)
        if data.label_noise:
            self.data = self.data.with_label_noise(data.label_noise)
        self._check_batch()
        self.start: StartingPoint | None = None
        if self.retrains:
            self._find_start()
        self.steps_per_epoch = self.data.steps_per_epoch(self.phase.batch_size, data.fraction)
        self.total_steps = from_recipe.in_steps(self.phase.epochs, self.steps_per_epoch)
        # How often the run went back to a checkpoint, and rows that its tables had before.
        self.rollbacks = self.rows_missing = 0
        self.model = self._model()
        self._check_weights()

    def _find_start(self) -> None:
        """Weights, masks, epochs and rate, which the strategy decides."""
        phase, rate = self.phase, self.phase.learning_rate
        check_training(self.settings)
        with self.distribution.scope():
            self.start = starting_point(self.config, self._net, self.settings.seed)
        phase.epochs = self.start.epochs
        if rate.schedule == AS_STRATEGY:
            rate.schedule = STRATEGIES.get(phase.strategy).rate

    def _check_batch(self) -> None:
        batch, replicas = self.phase.batch_size, self.distribution.replicas
        if batch % replicas:
            raise ValueError(
                f"config.{self.settings.phase}.batch_size: expected a multiple of the {replicas} "
                f"replicas, received {batch}. The nearest is "
                f"{max(1, batch // replicas) * replicas}."
            )
        if self.config.prune.evaluate_updates and replicas > 1:
            raise ValueError(
                "config.prune.evaluate_updates: expected False on more than one device, where "
                "Keras cannot evaluate in the middle of an epoch; received True"
            )

    def _net(self, seed: int, weights: str | None = None) -> Any:
        """The net of the recipe, not compiled."""
        given = self.config.model
        return models.build(
            given.name,
            input_shape=self.data.image_shape,
            classes=self.data.classes,
            weight_decay=self.phase.weight_decay,
            decay_on=self.phase.decay_on,
            preprocessing=given.preprocessing,
            seed=seed,
            weights=weights,
            **given.options,
        )

    def _initial_net(self) -> Any:
        """The net with the weights that the run begins with."""
        given, seed = self.config.initial_weights, self.settings.seed
        if self.start is not None and self.start.smaller is not None:
            return copy_of(self.start.smaller)
        if self.retrains:
            return self._net(seed)
        if at_epoch(given) is None:
            return self._net(seed, weights_file(given))
        model = self._net(seed)
        model.set_weights(read_weights(given, model, "config.initial_weights"))
        return model

    def _model(self) -> Any:
        phase = self.phase
        with self.distribution.scope():
            self.metrics = from_recipe.metrics(self.data.classes)
            model = self._initial_net()
            if self.prunes and phase.match_scale and not match_scale(model):
                raise ValueError(
                    "config.prune.match_scale: expected a net with kernels whose output goes "
                    f"into a batch normalisation, received {model.name} with none"
                )
            if phase.scale_penalty:
                put_scale_penalty(model, phase.scale_penalty)
            if self.prunes:
                model = from_recipe.pruned(model, phase, self.steps_per_epoch, self.settings.seed)
            model.compile(
                optimizer=from_recipe.optimizer(
                    phase,
                    self.steps_per_epoch,
                    self.config.non_finite.rate_factor**self.rollbacks,
                    None if phase is self.config.train else self.config.train,
                ),
                loss=from_recipe.loss(phase),
                metrics=self.metrics,
                jit_compile=from_recipe.jit_compile(phase, model, self.distribution.replicas),
                steps_per_execution=phase.steps_per_execution,
            )
            if self.prunes:
                ensure_pruning(model)
            if self.start is not None:
                put_start(model, self.start)
            model.optimizer.build(model.trainable_variables)
        return model

    def train_data(self, start_step: int = 0) -> Any:
        """This worker's batches from `start_step` of the run on."""
        return self.data.train(
            self.phase.batch_size,
            seed=self.settings.seed,
            epochs=self.phase.epochs,
            start_step=start_step,
            augmentation=self.config.data.augmentation,
            fraction=self.config.data.fraction,
            shard=self.distribution.shard,
        )

    def validation_data(self) -> Any:
        """This worker's share of what every epoch is validated on."""
        return self.eval_data(datasets.HELD_OUT if self.config.data.held_out else None)

    def eval_data(self, split: str | None = None) -> Any:
        """This worker's share of a split, by default of the one that the results are of."""
        given = self.config.data
        return self.data.evaluation(
            given.eval_batch_size or self.phase.batch_size,
            split=split or given.eval_split,
            shard=self.distribution.shard,
            fraction=given.eval_fraction,
        )

    def evaluate(self) -> dict[str, float]:
        """Metrics on the evaluation split."""
        return distributed.evaluate(self.model, self.eval_data())

    def run(self, print_fn: Callable[[str], None] = print) -> dict[str, Any]:
        """Runs to the end, from the last checkpoint if there is one; returns the results.

        With several workers all of them call it, and all see the same folder: the chief writes it,
        every worker reads the checkpoint that the run resumes from.

        Writes, in the run's folder: `settings.json` (the recipe as it was given, seed, versions,
        git state), `checkpoints/`, `keep_ratio.csv` and its kin (see `tfshed.KeepRatio`),
        TensorBoard's files, plots, `model.keras` (plain layers with exact zeros), `results.json`,
        `results.txt`.
        """
        with contextlib.ExitStack() as held:
            folder = None
            if self.distribution.is_chief:
                folder = self._folder()
                held.enter_context(run_lock(self.path))
            if (self.path / RESULTS).is_file():
                found: dict[str, Any] = read_json(self.path / RESULTS)
                print_fn(f"{self.path}: this run is finished.\n\n{results_table(found)}")
                return found
            request = held.enter_context(stop_request())
            return self._run(folder, request, print_fn)

    def _run(
        self, folder: RunDirectory | None, request: StopRequest, print_fn: Callable[[str], None]
    ) -> dict[str, Any]:
        checkpoints = Checkpoints(self.path / "checkpoints", self.config.checkpoint.keep)
        newest = checkpoints.newest()
        start = 0 if newest is None else newest.info["step"]
        if newest is not None:
            print_fn(f"Resuming from step {start} of {self.total_steps}.")
            self._check_rows(newest)
            self.go_to(newest)
        before = None if folder is None else read_json(self.path / BEFORE)
        unknown = before is None or self.distribution.worker_count > 1
        if self.settings.phase != "train" and start == 0 and unknown:
            before = self.evaluate()
            if folder is not None:
                folder.write_json(BEFORE, as_json(before))
        started = time.monotonic()
        fit_finite(self, newest, checkpoints, request, print_fn)
        seconds = time.monotonic() - started
        if request.signal is not None and self.distribution.worker_count == 1:
            # The rest would take its time; the last checkpoint has everything.
            raise InterruptedRunError(self.total_steps, request.signal)
        after = self.evaluate()
        self._save()
        found = results(self, before, after, seconds, start)
        if self.config.data.held_out:
            found["best"] = self._best(checkpoints)
        if folder is not None:
            folder.write_text("results.txt", results_table(found) + "\n")
            # This file is written last: where it exists, all other files do.
            folder.write_json(RESULTS, as_json(found))
            print_fn(f"\n{results_table(found)}\n\nThe run's files are in {self.path}")
        return found

    def _best(self, checkpoints: Checkpoints) -> dict[str, float]:
        """The test results of the epoch that was best on the held-out examples, and its number."""
        best = checkpoints.best()
        if best is None:
            return {}
        last = capture(self.model)
        with self.distribution.scope():
            restore(self.model, best.arrays)
            found = self.evaluate()
            restore(self.model, last)
        epoch = best.info["step"] / self.steps_per_epoch
        return {**found, "epoch": epoch, "held_out_accuracy": best.info["value"]}

    def _folder(self) -> RunDirectory:
        data = {"examples": self.data.examples, "fingerprint": self.data.fingerprint()}
        recorded = comparable(self.path, {**self.settings.recorded, "data": data})
        folder = RunDirectory(self.path, recorded)
        if folder.resumed and not self.settings.resume:
            raise ValueError(
                f"{self.path}: expected a new folder with resume=False, received one with a run. "
                "Give another workdir, or resume."
            )
        return folder

    def _check_weights(self) -> None:
        """Refuses weights that are not finite: a run that starts with NaN ends with NaN."""
        arrays = capture(self.model)
        what = non_finite(arrays, paths(self.model))
        if what is not None:
            raise ValueError(
                f"config.initial_weights: expected finite weights, received a model in which {what}"
            )

    def _check_rows(self, newest: Checkpoint) -> None:
        """Refuses to resume with tables that lack rows, unless that is accepted."""
        if not self.distribution.is_chief:
            return
        table = self.path / "keep_ratio.csv"
        self.rows_missing = missing_rows(table, newest.info)
        if self.rows_missing and not self.settings.accept_missing_rows:
            raise ValueError(
                f"{table}: expected {newest.info['rows']} rows up to the checkpoint of step "
                f"{newest.info['step']}, {self.rows_missing} of them are missing. Put back a good "
                "copy, give another workdir, or resume without them with accept_missing_rows."
            )

    def go_to(self, checkpoint: Checkpoint | None) -> None:
        """Makes the model as it was at a checkpoint; None: at the start of the run."""
        rollbacks = 0 if checkpoint is None else checkpoint.info.get("rollbacks", 0)
        if rollbacks > self.rollbacks:
            self.rollbacks = rollbacks
            self.remake()
        if checkpoint is not None:
            with self.distribution.scope():
                restore(self.model, checkpoint.arrays, self.metrics)

    def remake(self) -> None:
        """Makes the model anew, with the learning rate that is due after so many rollbacks.

        The rate is part of the compiled step, and an interrupted step may leave anything behind.
        """
        keras.utils.set_random_seed(self.settings.seed)
        self.model = self._model()

    def _save(self) -> None:
        """Writes the trained net, without optimizer and wrappers, to `model.keras`."""
        with warnings.catch_warnings():
            # A recipe that only observes knows that its net is not pruned.
            warnings.filterwarnings("ignore", "strip_pruning: nothing was pruned")
            plain = tfshed.strip_pruning(self.model) if self.prunes else self.model
        # A user of the net does not need the compiled loss and optimizer.
        plain = keras.Model(plain.inputs, plain.outputs, name=plain.name)
        if self.distribution.is_chief:
            replace_file(self.path / FINAL, plain.save)


def _ask_for_determinism() -> None:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif keras.backend.backend() == "torch":
        import torch

        torch.use_deterministic_algorithms(True)
