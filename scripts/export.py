"""Exports a trained or pruned network, checked by loading it again.

    python scripts/export.py --model=runs/pruned --output=exported/ [--format=saved_model]

MODEL is a run directory or a .keras file. OUTPUT is a folder for saved_model and report, a file for
the other formats: litert, keras, shrink and those that a --plugin registers.
"""

import runpy

import _cli
from absl import flags


def export() -> int:
    import keras

    import tfshed
    from tfshed.experiments.evaluation import model_file

    given = flags.FLAGS
    for file in given.plugin:
        runpy.run_path(file)
    tfshed.export.FORMATS.get(given.format, path="--format")  # before the model is loaded
    # Safe mode, Keras' default: a file with a Lambda layer, which holds code, is refused.
    model = keras.saving.load_model(model_file(given.model), compile=False)
    options = {"values": given.values} if given["values"].present else {}
    if given.overwrite:
        options["overwrite"] = True
    print(tfshed.export.write(model, given.output, given.format, **options))
    print(f"Written to {given.output}.")
    return 0


def define() -> None:
    """The flags; those of formats are known only when tfshed is imported, after the backend."""
    from tfshed.export import FORMATS

    flags.DEFINE_string("model", None, "A run directory or a .keras file.", required=True)
    flags.DEFINE_string("output", None, "Where to.", required=True)
    formats = "".join(f"\n{name}: {FORMATS.get(name).summary}" for name in FORMATS)
    flags.DEFINE_string("format", "saved_model", f"What to write.{formats}")
    flags.DEFINE_string(
        "values", "float32", "How non-zeros are kept: float32, bfloat16, float16 or int8."
    )
    flags.DEFINE_bool("overwrite", False, "Replace what is there.")
    flags.DEFINE_multi_string("plugin", [], "A Python file that registers a format of your own.")
    flags.adopt_module_key_flags(_cli)


if __name__ == "__main__":
    _cli.define_backend()
    _cli.main(export, define)
