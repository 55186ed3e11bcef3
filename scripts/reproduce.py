r"""Reproduces the figures and claims of the cascade paper at a scale that fits the machine.

    python scripts/reproduce.py --figure=3 --scale=digits --workdir=runs/cascade_digits
    python scripts/reproduce.py --all --scale=mnist_noise --workdir=runs/cascade_mnist_noise \
        --data_dir=DATA
    python scripts/reproduce.py --all --scale=cifar10 --workdir=runs/cascade_cifar10

A figure's runs are made with the grid of its scale (configs/grids/cascade_<scale>.py), which
figures share. Killed and started again, the same command finishes what is missing. It draws the
figures into the folder, and prints for each of the paper's 24 claims whether it holds, does not
hold or is not decided. The scales cifar10 and imagenet print what they would run and what it costs.

    python scripts/reproduce.py --report=docs/reproduction.md --scale=digits \
        --workdir=runs/cascade_digits

This runs nothing and writes the part of the report about this scale from the folder. Source:
Azarian & Porikli 2021, arXiv 2103.10629.
"""

import sys
from pathlib import Path

import _cli
from absl import flags

SCALES = ("digits", "mnist_noise", "cifar10", "imagenet")


def define() -> None:
    """The flags."""
    _cli.define_backend()
    flags.DEFINE_integer("figure", None, "The number of a figure.", lower_bound=1, upper_bound=6)
    flags.DEFINE_bool("all", False, "All figures.")
    flags.DEFINE_enum("scale", "digits", SCALES, "Data, net and length of the runs.")
    flags.DEFINE_string("workdir", None, "The folder; the same command finishes what is missing.")
    flags.DEFINE_string("data_dir", None, "Folder of the data sets, as of train.py.")
    flags.DEFINE_list("seeds", None, "Seeds in place of 0, 1 and 2.")
    flags.DEFINE_string("report", None, "Write this Markdown file from finished runs; run nothing.")
    flags.mark_flag_as_required("workdir")


def main() -> int:
    """Runs, draws and prints."""
    from tfshed.experiments.reproduction import FIGURES, reproduce
    from tfshed.experiments.reproduction.page import write_report

    given = flags.FLAGS
    if (given.figure is None) != (given.all or bool(given.report)):
        raise ValueError("expected one of --figure=N, --all and --report=FILE")
    found = reproduce(
        given.scale,
        [given.figure] if given.figure else sorted(FIGURES),
        Path(given.workdir),
        Path(__file__).parents[1] / "configs" / "grids",
        seeds=[int(seed) for seed in given.seeds] if given.seeds else None,
        options={"data_dir": given.data_dir},
        run=not given.report,
    )
    if given.report and found is not None:
        write_report(Path(given.report), found)
        print(f"written: {given.report}")
    return 0


if __name__ == "__main__":
    define()
    sys.exit(_cli.main(main))
