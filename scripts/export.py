"""Exports a trained or pruned network, checked by loading it again.

    python scripts/export.py --model=runs/pruned --output=exported/ [--format=saved_model]

MODEL is a run directory or a .keras file. Formats, each a function of tfshed.export:
  saved_model   zeros packed away, opens without tfshed; OUTPUT is a folder
  litert        sparse LiteRT; OUTPUT is a .tflite file
  keras         a smaller .keras that stock Keras opens; OUTPUT is a .keras file
  shrink        the .keras of a physically smaller net, after filter pruning
  report        sizes of all formats, sparsity, FLOPs, what can run faster where; OUTPUT is a folder
"""

import _cli
from absl import flags


def export() -> int:
    import keras

    import tfshed
    from tfshed.experiments.evaluation import model_file

    given = flags.FLAGS
    # Safe mode, Keras' default: a file with a Lambda layer, which holds code, is refused.
    model = keras.saving.load_model(model_file(given.model), compile=False)
    options = {"overwrite": given.overwrite}
    if given.format in ("saved_model", "litert"):
        options["values"] = given.values
    elif given.values != "float32":
        raise ValueError(f"values: expected float32 with {given.format}, received {given.values}")
    if given.format == "report":
        print(tfshed.export.report(model, path=given.output))
        return 0
    if given.format == "shrink":
        model, found = tfshed.export.shrink(model)
        print(found)
        tfshed.export.keras(model, given.output, **options)
    elif given.format == "litert":
        print(tfshed.export.litert(model, given.output, **options))
    else:
        path = getattr(tfshed.export, given.format)(model, given.output, **options)
        if given.format == "saved_model":
            print(tfshed.export.packing(path))
    print(f"Written to {given.output}, and checked.")
    return 0


if __name__ == "__main__":
    _cli.define_backend()
    flags.DEFINE_string("model", None, "A run directory or a .keras file.", required=True)
    flags.DEFINE_string("output", None, "Where to.", required=True)
    flags.DEFINE_enum(
        "format",
        "saved_model",
        ["saved_model", "litert", "keras", "shrink", "report"],
        "What to write.",
    )
    flags.DEFINE_string(
        "values", "float32", "How non-zeros are kept: float32, bfloat16, float16 or int8."
    )
    flags.DEFINE_bool("overwrite", False, "Replace what is there.")
    flags.adopt_module_key_flags(_cli)
    _cli.main(export)
