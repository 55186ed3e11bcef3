"""Evaluates a trained or pruned network, on the data of its run or on others.

    python scripts/evaluate.py --model=runs/pruned
    python scripts/evaluate.py --model=runs/pruned --data=imagenet_v2 --data_dir=~/data

MODEL is a run directory or a .keras file (which needs --data).
"""

import _cli
from absl import flags


def evaluate() -> int:
    from tfshed.experiments.evaluation import evaluate
    from tfshed.experiments.results import results_table

    given = flags.FLAGS
    found = evaluate(
        given.model,
        data=given.data,
        data_dir=given.data_dir,
        split=given.split,
        batch_size=given.batch_size,
        fraction=given.fraction,
    )
    print(results_table(found))
    return 0


if __name__ == "__main__":
    _cli.define_backend()
    flags.DEFINE_string("model", None, "A run directory or a .keras file.", required=True)
    flags.DEFINE_string("data", None, "Name of the data; default those of the run.")
    flags.DEFINE_string("data_dir", None, "Folder of the data sets (of tensorflow-datasets).")
    flags.DEFINE_string("split", None, "Default the evaluation split.")
    flags.DEFINE_integer("batch_size", 128, "Images at once.", lower_bound=1)
    flags.DEFINE_float("fraction", 1.0, "Part of the split.", lower_bound=0.0, upper_bound=1.0)
    flags.adopt_module_key_flags(_cli)
    _cli.main(evaluate)
