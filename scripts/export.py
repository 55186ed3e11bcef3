"""Exports a trained or pruned network as a SavedModel, checked by loading it again.

    python scripts/export.py --model=runs/pruned --output=exported/

MODEL is a run directory or a .keras file.
"""

import _cli
from absl import flags


def export() -> int:
    import keras

    import tfshed
    from tfshed.training.evaluation import model_file

    given = flags.FLAGS
    model = keras.saving.load_model(model_file(given.model), compile=False)
    tfshed.export.saved_model(model, given.output, overwrite=given.overwrite)
    print(f"Written to {given.output}; loaded again, its outputs are those of the network.")
    return 0


if __name__ == "__main__":
    _cli.define_backend()
    flags.DEFINE_string("model", None, "A run directory or a .keras file.", required=True)
    flags.DEFINE_string("output", None, "Folder of the SavedModel.", required=True)
    flags.DEFINE_bool("overwrite", False, "Replace what is there.")
    flags.adopt_module_key_flags(_cli)
    _cli.main(export)
