"""Writes a trained or pruned network in another format, and checks the file.

    tfshed export runs/pruned --output=exported/ [--format=saved_model]

The model is a run directory or a .keras file. OUTPUT is a folder for the formats saved_model and
report, and a file for the other formats: litert, keras, shrink and those that a --plugin registers.
"""

from __future__ import annotations

import runpy

import keras
from absl import flags

import tfshed
from tfshed.commands.command import Command
from tfshed.commands.run_flags import define_backend
from tfshed.experiments.evaluation import model_file
from tfshed.export import FORMATS


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
        "output", None, "The output path, a file or a folder.", required=True, flag_values=values
    )
    formats = "".join(f"\n      {name}: {FORMATS.get(name).summary}" for name in FORMATS)
    flags.DEFINE_string(
        "format", "saved_model", f"The format of the export.{formats}\n     ", flag_values=values
    )
    flags.DEFINE_string(
        "values",
        "float32",
        "The dtype of stored weights: float32, bfloat16, float16 or int8.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "overwrite",
        False,
        "Replace an earlier export at the output path.",
        flag_values=values,
    )
    flags.DEFINE_multi_string(
        "plugin",
        [],
        "A Python file that registers a format of your own.",
        flag_values=values,
    )
    define_backend(values)


def run(given: flags.FlagValues) -> int:
    """Loads the model and writes it in the chosen format."""
    for file in given.plugin:
        runpy.run_path(file)
    # An unknown format is an error before the model is loaded, which may take long.
    FORMATS.get(given.format, path="--format")
    # In safe mode, Keras' default, a file with a Lambda layer is refused, as it holds code.
    model = keras.saving.load_model(model_file(given.model), compile=False)
    options = {"values": given.values} if given["values"].present else {}
    if given.overwrite:
        options["overwrite"] = True
    print(tfshed.export.write(model, given.output, given.format, **options))
    print(f"Written to {given.output}.")
    return 0


COMMAND = Command(__doc__ or "", define, run, first_word="model")
