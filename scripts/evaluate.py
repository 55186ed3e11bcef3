"""Evaluates a trained or pruned network, on the data of its run or on other data.

    python scripts/evaluate.py --model=runs/pruned
    python scripts/evaluate.py --model=runs/pruned --data=imagenet_v2 --data_dir=~/data

MODEL is a run directory or a .keras file (which needs --data).
"""

import _cli
from absl import flags


def evaluate() -> int:
    """Evaluates the model and prints the table of results."""
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
    flags.DEFINE_string("data", None, "The name of the data; by default the data of the run.")
    flags.DEFINE_string("data_dir", None, "The folder in which tensorflow-datasets keeps its data.")
    flags.DEFINE_string("split", None, "The split; by default the evaluation split of the data.")
    flags.DEFINE_integer("batch_size", 128, "The number of images in a batch.", lower_bound=1)
    flags.DEFINE_float(
        "fraction", 1.0, "The fraction of the split to use.", lower_bound=0.0, upper_bound=1.0
    )
    flags.adopt_module_key_flags(_cli)
    _cli.main(evaluate)
