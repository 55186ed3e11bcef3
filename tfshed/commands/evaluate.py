"""Evaluates a trained or pruned network.

    tfshed evaluate runs/pruned
    tfshed evaluate runs/pruned --data=imagenet_v2 --data_dir=~/data

The model is a run directory, which records the data that it was trained on, or a .keras file, which
needs --data.
"""

from __future__ import annotations

from absl import flags

from tfshed.commands.command import Command
from tfshed.commands.run_flags import define_backend, define_data_dir
from tfshed.experiments import evaluation
from tfshed.experiments.results import results_table


def define(values: flags.FlagValues) -> None:
    """Defines the flags."""
    flags.DEFINE_string(
        "model",
        None,
        "A run directory or a .keras file.",
        required=True,
        flag_values=values,
    )
    flags.DEFINE_string(
        "data",
        None,
        "The name of the data; by default the data of the run.",
        flag_values=values,
    )
    define_data_dir(values)
    flags.DEFINE_string(
        "split",
        None,
        "The split; by default the evaluation split of the data.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "batch_size",
        128,
        "The number of images in a batch.",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_float(
        "fraction",
        1.0,
        "The fraction of the split to use.",
        lower_bound=0.0,
        upper_bound=1.0,
        flag_values=values,
    )
    define_backend(values)


def run(given: flags.FlagValues) -> int:
    """Evaluates the model and prints the table of results."""
    found = evaluation.evaluate(
        given.model,
        data=given.data,
        data_dir=given.data_dir,
        split=given.split,
        batch_size=given.batch_size,
        fraction=given.fraction,
    )
    print(results_table(found))
    return 0


COMMAND = Command(__doc__ or "", define, run, first_word="model")
