"""Recipes: every field a run has, with its default.

A recipe is a locked `ml_collections.ConfigDict`: an unknown field or a value of another type is an
error at once. A file in `configs/` starts from `recipe()` and sets the fields that it is about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfshed.core.extras import need

if TYPE_CHECKING:
    from ml_collections import ConfigDict

PHASES = ("train", "prune", "retrain")


def recipe() -> ConfigDict:
    """A recipe with every field at its default, locked.

    Epochs are counted in passes over the training data and may be fractions except for the number
    of epochs itself. Phases: `train` trains all weights, `prune` prunes `initial_weights` and
    trains on, `retrain` prunes `initial_weights` once and trains with fixed masks.

    * `initial_weights`: "" (fresh), "imagenet", a weights or `.keras` file, or a run directory.
    * `scale`: see `scaled`.
    * `data`: `name` (see `tfshed.datasets.load`), `image_size`, `augmentation`, `fraction` of the
      training examples, `held_out`: a fraction of the training examples that is not trained on
      (each epoch is validated on it, and the results have the evaluation of its best epoch, too),
      `label_noise`: a fraction of the training examples that gets a wrong label, the same ones in
      every run,
      `eval_split` (None: the data's own), `eval_fraction`, `eval_batch_size`
      (None: the phase's).
    * `model`: `name` and `options` (see `tfshed.models.build`), `preprocessing`.
    * `checkpoint`: every so many epochs and, if not 0, steps; how many to `keep`; `best`: a metric,
      such as "val_accuracy", by which the best checkpoint at the end of an epoch is kept as well
      ("": none); `keep_epochs`: epochs whose weights are kept for good, to rewind to; 0 is before
      training.
    * `snapshots`, for the phase `prune`: masks are kept in the folder `masks` of the run
      `every_epochs` and `every_updates` (0, the default: not), and `weights` with them; see
      `tfshed.MaskSnapshots`.
    * `start`, for the phase `retrain`: `weights` that are kept ("": as the strategy says; or
      "fresh", RUN, RUN@EPOCH, a file), `masks` ("": `initial_weights` pruned as the phase says; or
      a pruned RUN or file), `run`: the run whose epochs the strategy goes back to ("":
      `initial_weights`).
    * `non_finite`: what to do when the loss or a weight is NaN or infinite. `action`: "stop" ends
      the run, "rollback" goes back to the last checkpoint and on from there with the learning rate
      times `rate_factor`, at most `retries` times, "go_on" only warns. `every_steps`: how often to
      look at the loss within an epoch; weights are looked at before every checkpoint.
    * each phase: `epochs`, `batch_size` (global), `optimizer`, `momentum`, `nesterov`,
      `low_momentum` (if not None, SGD's momentum falls to it within the first tenth of the phase
      and comes back until its end, each along half a cosine, as goes with "one_cycle"),
      `clip_norm` (0: none), `weight_decay` d (d * w is added to the gradient) of `decay_on`
      "kernels" (of convolutions and dense layers) or "all" (trainable variables),
      `scale_penalty` (of network slimming: so many times the sum of |gamma| over all normalisation
      is added to the loss), `soft_filters` (of soft filter pruning: after every epoch this fraction
      of the filters of each convolution becomes zero),
      `label_smoothing`, `jit_compile` ("auto", "true", "false"), `steps_per_execution`,
      `learning_rate`.
    * `learning_rate`: `schedule` (see `tfshed.learning_rates.register`) with `rates` (the first
      alone for "constant", "cosine" and "linear"), `milestones` and `cycle` in epochs, `final`
      (where "cosine" and "linear" end), `options` of the schedule; `warmup_epochs`: during them
      the rate, whichever it is, is multiplied by what grows from 0 to 1. `base_batch_size`: if not
      None, rates hold at that batch size and are scaled in proportion to `batch_size`; None: never
      scaled. For retraining, "fine_tune" is the last rate of the phase `train`, "rewind" its last
      epochs, "as_training" all of it stretched to the epochs of the phase; "scaled_restart" and
      "one_cycle" go between the lowest and the highest of `rates`, or of those of `train` if
      `rates` is empty.
    * `prune` besides: `schedule`, `sparsity`, `initial_sparsity`, `time_constant`, `cycle`, `gate`,
      `gate_mode`, `begin`, `end` (None: the last epoch), `round_epochs`, `keep_per_round`, `power`,
      `snap_final`; `frequency` of updates in steps, or, if not None, `frequency_epochs` in epochs;
      `criterion` (a name, see `tfshed.criteria.register`), `granularity` ("unstructured", "4x1",
      "filter", "2:4", "balanced16", or another name of `tfshed.granularity.register`), `scope`,
      `threshold`, `grow_threshold`, `shed_every`, `collapse_guard`, `monotone`, `observe` (shadow
      masks: the rule is only counted, no weight is pruned), `control` ("", or a name of
      `tfshed.experiments.controls`: what this run changes to be a control of the recipe),
      `match_scale` (whether kernels before batch normalisation begin with one root mean square),
      `select` (a regex; None: all kernels but depthwise ones and embeddings), `sparsity_by_layer`
      (pairs of a regex, searched in kernel paths, and a sparsity; the first that matches counts, 0
      leaves the kernel dense, others have `sparsity`), `selective_decay` (its rate; 0: none) with
      `selective_decay_threshold` (None: the quantile), `evaluate_updates` (validate at every
      update, too).

    * `retrain` besides: `strategy` (see `tfshed.experiments.retraining.strategies`), which says
      where weights come from, at which rate and how long; `sparsity` (0: no pruning, the control),
      `criterion`, `granularity`, `scope`, `select` of the pruning before; `filters`: if not "",
      whole filters are taken out in its place, so that a smaller net is retrained ("l1" or "l2":
      those of lowest norm, "random": any, each a fraction `sparsity` of every convolution or as in
      `preset`, see `tfshed.experiments.structured.preset`; "scale": a fraction `sparsity` of all,
      those of lowest |gamma|); `rounds`: prune and
      retrain so many times, each time the same fraction of what is left; `budget_most`: Scratch-B
      has at most so many times the epochs of training (None: no limit; 2 on ImageNet).
      `learning_rate.schedule` "as_strategy" is the strategy's.

    Example:
        >>> config = recipe()
        >>> config.prune.momentum = 0.0
        >>> config.prune.momentm = 0.0
        Traceback (most recent call last):
        ...
        AttributeError: ...Did you mean "momentum" instead of "momentm"?...
    """
    # Not at the top: retraining, which stands in this room, works without recipes.
    new_group = need("ml_collections", "A recipe").ConfigDict
    placeholder = need("ml_collections.config_dict", "A recipe").placeholder
    config: ConfigDict = new_group()
    config.initial_weights = ""
    config.scale = 1.0
    config.data = new_group(
        {
            "name": "digits",
            "image_size": placeholder(int),
            "augmentation": "none",
            "fraction": 1.0,
            "held_out": 0.0,
            "label_noise": 0.0,
            "eval_split": placeholder(str),
            "eval_fraction": 1.0,
            "eval_batch_size": placeholder(int),
        }
    )
    config.model = new_group(
        {"name": "resnet20", "preprocessing": placeholder(str), "options": new_group()}
    )
    config.checkpoint = new_group(
        {"every_epochs": 1, "every_steps": 0, "keep": 2, "best": "", "keep_epochs": ()}
    )
    config.snapshots = new_group({"every_epochs": 0, "every_updates": 0, "weights": False})
    config.start = new_group({"weights": "", "masks": "", "run": ""})
    config.non_finite = new_group(
        {"action": "stop", "every_steps": 100, "rate_factor": 0.5, "retries": 3}
    )
    config.train = _phase(epochs=182, rates=(0.1, 0.01, 0.001), milestones=(91.0, 136.0))
    config.prune = _phase(epochs=35, rates=(1e-2, 1e-3, 1e-4), milestones=(11.0, 23.0))
    config.prune.update(
        {
            "schedule": "exponential",
            "sparsity": 0.85,
            "initial_sparsity": 0.0,
            "time_constant": 3.0,
            "cycle": 7.0,
            "gate": 2.0,
            "gate_mode": "freeze",
            "begin": 0.0,
            "end": placeholder(float),
            "round_epochs": 1.0,
            "keep_per_round": 0.8,
            "power": 3.0,
            "snap_final": True,
            "frequency": 100,
            "frequency_epochs": placeholder(float),
            "criterion": "magnitude",
            "granularity": "unstructured",
            "scope": placeholder(str),
            "threshold": placeholder(float),
            "grow_threshold": placeholder(bool),
            "shed_every": 1,
            "collapse_guard": 0.1,
            "monotone": True,
            "observe": False,
            "control": "",
            "match_scale": False,
            "select": placeholder(str),
            "sparsity_by_layer": (),
            "selective_decay": 0.0,
            "selective_decay_threshold": placeholder(float),
            "evaluate_updates": False,
        }
    )
    config.retrain = _phase(epochs=90, rates=(), milestones=())
    config.retrain.learning_rate.schedule = "as_strategy"
    config.retrain.update(
        {
            "strategy": "rewind_rate",
            "sparsity": 0.8,
            "criterion": "magnitude",
            "granularity": "unstructured",
            "scope": "global",
            "select": placeholder(str),
            "filters": "",
            "preset": "",
            "rounds": 1,
            "budget_most": placeholder(float),
        }
    )
    config.lock()
    return config


def _phase(epochs: int, rates: tuple[float, ...], milestones: tuple[float, ...]) -> ConfigDict:
    new_group = need("ml_collections", "A recipe").ConfigDict
    placeholder = need("ml_collections.config_dict", "A recipe").placeholder
    return new_group(
        {
            "epochs": epochs,
            "batch_size": 128,
            "optimizer": "sgd",
            "momentum": 0.9,
            "nesterov": False,
            "low_momentum": placeholder(float),
            "clip_norm": 0.0,
            "weight_decay": 0.0,
            "decay_on": "kernels",
            "scale_penalty": 0.0,
            "soft_filters": 0.0,
            "label_smoothing": 0.0,
            "jit_compile": "auto",
            "steps_per_execution": 1,
            "learning_rate": {
                "schedule": "multistep",
                "rates": rates,
                "milestones": milestones,
                "cycle": 7.0,
                "final": 0.0,
                "warmup_epochs": 0.0,
                "options": new_group(),
                "base_batch_size": placeholder(int),
            },
        }
    )
