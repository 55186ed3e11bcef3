"""Exports a trained or pruned network, and checks the export by loading it.

    python scripts/export.py --model=runs/pruned --output=exported/ [--format=saved_model]

MODEL is a run directory or a .keras file. OUTPUT is a folder for the formats saved_model and
report, and a file for the other formats: litert, keras, shrink and those that a --plugin registers.
"""

import runpy

import _cli
from absl import flags


def export() -> int:
    """Loads the model and writes it in the chosen format."""
    import keras

    import tfshed
    from tfshed.experiments.evaluation import model_file

    given = flags.FLAGS
    for file in given.plugin:
        runpy.run_path(file)
    # An unknown format is an error before the model is loaded, which may take long.
    tfshed.export.FORMATS.get(given.format, path="--format")
    # In safe mode, Keras' default, a file with a Lambda layer is refused, as it holds code.
    model = keras.saving.load_model(model_file(given.model), compile=False)
    options = {"values": given.values} if given["values"].present else {}
    if given.overwrite:
        options["overwrite"] = True
    print(tfshed.export.write(model, given.output, given.format, **options))
    print(f"Written to {given.output}.")
    return 0


def define() -> None:
    """Defines the flags; the help text on formats needs tfshed, so this is called after import."""
    from tfshed.export import FORMATS

    flags.DEFINE_string("model", None, "A run directory or a .keras file.", required=True)
    flags.DEFINE_string("output", None, "The output path, a file or a folder.", required=True)
    formats = "".join(f"\n{name}: {FORMATS.get(name).summary}" for name in FORMATS)
    flags.DEFINE_string("format", "saved_model", f"The format of the export.{formats}")
    flags.DEFINE_string(
        "values", "float32", "The dtype of stored weights: float32, bfloat16, float16 or int8."
    )
    flags.DEFINE_bool("overwrite", False, "Replace an earlier export at the output path.")
    flags.DEFINE_multi_string("plugin", [], "A Python file that registers a format of your own.")
    flags.adopt_module_key_flags(_cli)


if __name__ == "__main__":
    _cli.define_backend()
    _cli.main(export, define)
