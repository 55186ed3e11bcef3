"""Tells whether a model is sparse, smaller and faster.

    tfshed report model.keras
    tfshed report runs/pruned --output=report/

The model is a run directory or a .keras file of any Keras 3 model, also of one that is still being
pruned. First the three answers are printed, then the whole report: the sparsity of each layer, the
bytes of the model in each format, and what can run faster. OUTPUT is a folder for report.txt,
report.json and report.html.
"""

from __future__ import annotations

import keras
from absl import flags

import tfshed
from tfshed.commands.command import Command
from tfshed.commands.run_flags import define_backend
from tfshed.experiments.evaluation import model_file
from tfshed.export.report.model_report import Report

# A format, the same with zeros packed, and how to get it.
PAIRS = (
    ("keras", "deflated_keras", "with `tfshed export --format=keras`"),
    ("saved_model", "packed_saved_model", "with `tfshed export --format=saved_model`"),
    ("litert", "sparse_litert", "with `tfshed export --format=litert`"),
)


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
        "output",
        None,
        "A folder for the report as text, JSON and a web page, or a file of one of these kinds.",
        flag_values=values,
    )
    flags.DEFINE_list(
        "formats",
        None,
        "The formats whose sizes are measured, such as keras,deflated_keras. By default all are, "
        "which writes the model in each of them; --formats= measures none and is fast.",
        flag_values=values,
    )
    define_backend(values)


def run(given: flags.FlagValues) -> int:
    """Loads the model, prints the report and writes it if asked to."""
    model = keras.saving.load_model(model_file(given.model), compile=False)
    found = tfshed.export.report(
        tfshed.strip_pruning(model), path=given.output, formats=given.formats
    )
    print("\n".join([*answers(found), "", str(found)]))
    if given.output:
        print(f"Written to {given.output}.")
    return 0


def answers(found: Report) -> list[str]:
    """Whether a model is sparse, smaller and faster, in a line each.

    Args:
        found: What `tfshed.export.report` returns.
    """
    percent = f"{found.sparsity:.1%} of the weights of its kernels are zero"
    sparse = f"Sparse:  {'yes' if found.sparsity >= 0.01 else 'no'}, {percent}."
    return [sparse, f"Smaller: {_smaller(found)}", f"Faster:  {_faster(found)}"]


def _smaller(found: Report) -> str:
    sizes = {each.format: each.size for each in found.sizes if each.size is not None}
    gains = []
    for plain, packed, what in PAIRS:
        if plain in sizes and packed in sizes:
            before, after = sizes[plain], sizes[packed]
            gains.append((after / before, f"{before:,} to {after:,} bytes {what}"))
    if not gains:
        return "not measured."
    # Files of a small model are mostly names and structure; a gain of 5 % is no gain.
    ratio, gain = min(gains)
    return f"{'yes' if ratio < 0.95 else 'no'}, at best from {gain}."


def _faster(found: Report) -> str:
    kernels: dict[str, int] = {}
    for row in found.kernels:
        for verdict in row.runtimes:
            if verdict.faster:
                kernels[verdict.runtime] = kernels.get(verdict.runtime, 0) + 1
    if not kernels:
        return "no, since no runtime skips these zeros; the reasons are below."
    counts = [f"{name} ({n} of {len(found.kernels)} kernels)" for name, n in kernels.items()]
    return f"yes, with {', '.join(counts)}; the conditions are below."


COMMAND = Command(__doc__ or "", define, run, first_word="model")
