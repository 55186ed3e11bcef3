"""One run: a phase of a recipe on data, resumable, with everything it writes in one folder."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

import tfshed
from tfshed import datasets, models
from tfshed import distribution as distributed
from tfshed.attach.keras3.callbacks import ensure_pruning
from tfshed.experiments import from_recipe
from tfshed.experiments.checkpoints import Checkpoint, Checkpoints
from tfshed.experiments.model_state import restore
from tfshed.experiments.recipe import PHASES
from tfshed.experiments.recipe_check import check
from tfshed.experiments.recorded import comparable
from tfshed.experiments.results import results, results_table
from tfshed.experiments.save_checkpoints import SaveCheckpoints
from tfshed.experiments.scaling import scaled
from tfshed.observe.progress import Progress
from tfshed.observe.replace_file import replace_file
from tfshed.observe.run_directory import RunDirectory

FINAL, RESULTS, BEFORE = "model.keras", "results.json", "before.json"
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a run is made of.

    Args:
        phase: "train" or "prune", the part of the recipe to run.
        config: a recipe (see `tfshed.experiments.recipe`), not yet scaled.
        workdir: the run's folder; a run that was broken off goes on with it.
        seed: int >= 0, of initial weights, order of data, augmentation and random pruning.
        precision: dtype policy of Keras.
        data_dir: folder of the data sets, as `tfshed.datasets.load` takes it.
        deterministic: ask TensorFlow for operations whose results repeat to the bit; slower.
        resume: whether to go on with a run that is there. False: that is an error.

    Raises:
        ValueError: naming the field, what was expected and what came.
    """

    phase: str
    config: Any
    workdir: Path
    seed: int = 0
    precision: str = "float32"
    data_dir: str | None = None
    deterministic: bool = False
    resume: bool = True

    def __post_init__(self) -> None:
        if self.phase not in PHASES:
            raise ValueError(f"phase: expected one of {PHASES}, received {self.phase!r}")
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision: expected one of {', '.join(PRECISIONS)}, received {self.precision!r}"
            )
        if self.seed < 0:
            raise ValueError(f"seed: expected a whole number >= 0, received {self.seed}")
        if not str(self.workdir):
            raise ValueError("workdir: expected a folder, received an empty name")
        check(self.config)
        # Fails here and not after the data have been read.
        from_recipe.granularity(self.config.prune.granularity)
        if self.phase == "prune" and not self.config.initial_weights:
            raise ValueError(
                "config.initial_weights: pruning starts from trained weights; expected a run "
                'directory, a weights file or "imagenet", received "". Train first, or give '
                '"fresh" to prune fresh weights on purpose.'
            )

    @property
    def recorded(self) -> dict[str, Any]:
        """What results depend on; a folder made with anything else is not gone on with."""
        return {
            "phase": self.phase,
            "backend": keras.backend.backend(),
            "seed": self.seed,
            "precision": self.precision,
            "deterministic": self.deterministic,
            "config": self.config.to_dict(),
        }


class Run:
    """A run, made ready: data, model and pruning are there, nothing has been written.

    Args:
        settings: what to run.
        distribution: from `tfshed.distribution.setup`; default one device.

    Raises:
        ValueError, FileNotFoundError: from data, model or recipe, before anything is written.

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

    def __init__(self, settings: Settings, distribution: Any = None):
        self.settings = settings
        self.distribution = distribution or distributed.setup("one_device")
        self.config = scaled(settings.config)
        self.phase = self.config[settings.phase]
        self.prunes = settings.phase == "prune"
        self.path = Path(settings.workdir)
        keras.config.set_dtype_policy(settings.precision)
        keras.utils.set_random_seed(settings.seed)
        if settings.deterministic:
            _ask_for_determinism()
        data = self.config.data
        self.data = datasets.load(data.name, data_dir=settings.data_dir, image_size=data.image_size)
        self._check_batch()
        self.steps_per_epoch = self.data.steps_per_epoch(self.phase.batch_size, data.fraction)
        self.total_steps = self.phase.epochs * self.steps_per_epoch
        self.model = self._model()

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

    def _model(self) -> Any:
        phase, given = self.phase, self.config.model
        with self.distribution.scope():
            self.metrics = from_recipe.metrics(self.data.classes)
            model = models.build(
                given.name,
                input_shape=self.data.image_shape,
                classes=self.data.classes,
                weight_decay=phase.weight_decay,
                decay_on=phase.decay_on,
                preprocessing=given.preprocessing,
                seed=self.settings.seed,
                weights=weights_file(self.config.initial_weights),
                **given.options,
            )
            if self.prunes:
                model = from_recipe.pruned(model, phase, self.steps_per_epoch, self.settings.seed)
            model.compile(
                optimizer=from_recipe.optimizer(phase, self.steps_per_epoch),
                loss=from_recipe.loss(phase),
                metrics=self.metrics,
                jit_compile=from_recipe.jit_compile(phase, model, self.distribution.replicas),
                steps_per_execution=phase.steps_per_execution,
            )
            if self.prunes:
                ensure_pruning(model)
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

    def eval_data(self) -> Any:
        """This worker's share of the evaluation split."""
        given = self.config.data
        return self.data.evaluation(
            given.eval_batch_size or self.phase.batch_size,
            split=given.eval_split,
            shard=self.distribution.shard,
            fraction=given.eval_fraction,
        )

    def evaluate(self) -> dict[str, float]:
        """Metrics on the evaluation split."""
        return distributed.evaluate(self.model, self.eval_data())

    def run(self, print_fn: Callable[[str], None] = print) -> dict[str, Any]:
        """Runs to the end, from the last checkpoint if there is one; returns the results.

        With several workers all of them call it, and all see the same folder: the chief writes it,
        every worker reads the checkpoint to go on from.

        Writes, in the run's folder: `settings.json` (the recipe as it was given, seed, versions,
        git state), `checkpoints/`, `keep_ratio.csv` and its kin (see `tfshed.KeepRatio`),
        TensorBoard's files, plots, `model.keras` (plain layers with exact zeros), `results.json`,
        `results.txt`.
        """
        folder = self._folder() if self.distribution.is_chief else None
        if (self.path / RESULTS).is_file():
            found: dict[str, Any] = json.loads((self.path / RESULTS).read_text())
            print_fn(f"{self.path}: this run is finished.\n\n{results_table(found)}")
            return found
        checkpoints = Checkpoints(self.path / "checkpoints", self.config.checkpoint.keep)
        newest = checkpoints.newest()
        start = 0 if newest is None else newest.info["step"]
        if newest is not None:
            print_fn(f"Going on from step {start} of {self.total_steps}.")
            with self.distribution.scope():
                restore(self.model, newest.arrays, self.metrics)
        before = folder.read_json(BEFORE) if folder is not None else None
        if self.prunes and start == 0 and (before is None or self.distribution.worker_count > 1):
            before = self.evaluate()
            if folder is not None:
                folder.write_json(BEFORE, before)
        started = time.monotonic()
        self._fit(start, newest, checkpoints)
        seconds = time.monotonic() - started
        after = self.evaluate()
        self._save()
        found = results(self, before, after, seconds, start)
        if folder is not None:
            folder.write_text("results.txt", results_table(found) + "\n")
            # Last: whoever finds it finds all the rest.
            folder.write_json(RESULTS, found)
            print_fn(f"\n{results_table(found)}\n\nAll of it is in {self.path}")
        return found

    def _folder(self) -> RunDirectory:
        folder = RunDirectory(self.path, comparable(self.path, self.settings.recorded))
        if folder.resumed and not self.settings.resume:
            raise ValueError(
                f"{self.path}: expected a new folder with resume=False, received one with a run. "
                "Give another workdir, or resume."
            )
        return folder

    def _fit(self, start: int, newest: Checkpoint | None, checkpoints: Checkpoints) -> None:
        epoch, offset = divmod(start, self.steps_per_epoch)
        chief = self.distribution.is_chief
        callbacks: list[Any] = [tfshed.UpdatePruningStep()] if self.prunes else []
        callbacks.append(
            tfshed.KeepRatio(
                self.path if chief else None,
                validation_data=self.eval_data() if self.config.prune.evaluate_updates else None,
            )
        )
        callbacks.append(
            SaveCheckpoints(
                checkpoints,
                self.metrics,
                steps_per_epoch=self.steps_per_epoch,
                every_epochs=self.config.checkpoint.every_epochs,
                every_steps=self.config.checkpoint.every_steps,
                resumed=None if newest is None else newest.arrays,
                start_step=start,
                write=chief,
            )
        )
        if chief:
            shown = ("loss", "accuracy", "val_accuracy", *(("keep_actual",) if self.prunes else ()))
            label = f"{self.settings.phase} {self.config.model.name}"
            callbacks.append(Progress(label, shown, total=self.total_steps, start=start))
        data = self.train_data(start)
        options = {"validation_data": self.eval_data(), "callbacks": callbacks}
        try:
            if offset:
                # What is left of the epoch that was broken off.
                rest = self.steps_per_epoch - offset
                first, data = data.take(rest), data.skip(rest)
                distributed.fit(
                    self.model,
                    first,
                    epochs=epoch + 1,
                    initial_epoch=epoch,
                    steps_per_epoch=rest,
                    **options,
                )
                epoch += 1
            if epoch < self.phase.epochs:
                distributed.fit(
                    self.model,
                    data,
                    epochs=self.phase.epochs,
                    initial_epoch=epoch,
                    steps_per_epoch=self.steps_per_epoch,
                    **options,
                )
        except Exception as error:
            why = self.data.explain(error)
            if why is None:
                raise
            raise ValueError(why) from error

    def _save(self) -> None:
        """Writes the trained net, without optimizer and wrappers, to `model.keras`."""
        plain = tfshed.strip_pruning(self.model) if self.prunes else self.model
        # Without the compiled loss and optimizer, of which a user of the net needs nothing.
        plain = keras.Model(plain.inputs, plain.outputs, name=plain.name)
        if self.distribution.is_chief:
            replace_file(self.path / FINAL, plain.save)


def weights_file(given: str) -> str | None:
    """The file that `initial_weights` names: None for fresh ones, a run directory's final model.

    Raises:
        FileNotFoundError: there is no such file, or the run there is not finished.

    Example:
        >>> weights_file(""), weights_file("fresh"), weights_file("imagenet")
        (None, None, 'imagenet')
    """
    if given in ("", "fresh"):
        return None
    path = Path(given).expanduser()
    if given == "imagenet" or path.is_file():
        return str(given)
    if path.is_dir() and (path / FINAL).is_file():
        return str(path / FINAL)
    what = f"no {FINAL}: is that run finished?" if path.is_dir() else "nothing is there"
    raise FileNotFoundError(
        'config.initial_weights: expected "fresh", "imagenet", a weights file or the directory of '
        f"a finished run, received {given}: {what}"
    )


def _ask_for_determinism() -> None:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif keras.backend.backend() == "torch":
        import torch

        torch.use_deterministic_algorithms(True)
