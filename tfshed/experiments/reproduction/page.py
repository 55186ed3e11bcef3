"""Writes docs/reproduction.md from finished runs, with a part for each scale."""

from __future__ import annotations

import math
import re
import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path

from tfshed.experiments.reproduction import arms
from tfshed.experiments.reproduction.check_claims import Found
from tfshed.experiments.reproduction.figures import FIGURES
from tfshed.experiments.reproduction.reproduce import Reproduction, counted, plan
from tfshed.experiments.reproduction.scales import SCALES, Scale
from tfshed.experiments.reproduction.verdict import DOES_NOT, HOLDS, NOT_DECIDED, SHARE, estimate
from tfshed.observe.replace_file import replace_file

PICTURES = "pictures"
INTRODUCTION = """# The paper's figures and claims, reproduced

This page is written from run directories by
`tfshed reproduce --report=docs/reproduction.md --scale=SCALE --workdir=FOLDER`. The
paper is Azarian & Porikli 2021, *Cascade Weight Shedding in Deep Neural Networks*
([arXiv 2103.10629](https://arxiv.org/abs/2103.10629)); [cascade.md](cascade.md) explains what
shedding is.

How to read it:

* The claims are those of section 4 of the paper, in its order; 25 and 26 are what its section 4.4
  supposes without a test. The paper has ResNet50 on ImageNet. The scales below are far smaller, so
  a claim that does not hold here may hold there, and the other way round.
* Each claim rests on one or two numbers. A number is a mean over seeds with its 95 % interval
  (Student's t; with three seeds that is 2.5 standard deviations). Differences are taken between
  runs of the same seed, which start from the same trained net.
* The limits of the verdicts are in `tfshed/experiments/reproduction/claims.py` and were committed
  before the runs. A difference has to have a quarter of the paper's size, or 0.0025 of accuracy
  where the paper gives no size, and its interval has to be above 0. It does not hold if its whole
  interval is below that limit. All else is *not decided*.
* The *shadow* is the control that the paper lacks: the whole rule (thresholds, masks, counts) is
  applied to a net of which no weight is ever pruned. What the shadow sheds, too, is not caused by
  pruning.
* Weight decays are named after the paper's. Runs here have fewer steps at another rate, so the
  decay that is used is the one that shrinks a weight as much over the whole run.
"""


def write_report(path: Path, found: Reproduction) -> None:
    """Writes the part of one scale into the report; the parts of other scales are left.

    Args:
        path: The Markdown file. Pictures go into the folder `pictures` beside it.
        found: Of one scale, from `reproduce`.
    """
    parts = _parts(path)
    parts[found.scale.name] = _part(path, found)
    for scale in SCALES.values():
        if not scale.runs:
            parts[scale.name] = _planned(scale)
    text = "\n".join([INTRODUCTION, *(parts[name] for name in SCALES if name in parts)])
    replace_file(path, lambda beside: _write(beside, text))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _parts(path: Path) -> dict[str, str]:
    """The parts of scales in a report that is there, by name."""
    if not path.is_file():
        return {}
    pieces = re.split(r"^(?=## Scale `)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    names = [re.match(r"## Scale `(\w+)`", piece) for piece in pieces]
    return {name[1]: piece.rstrip("\n") + "\n" for name, piece in zip(names, pieces) if name}


def _part(path: Path, found: Reproduction) -> str:
    runs = [run for arm in found.arms.values() for run in arm.records]
    minutes = sum(run.seconds for run in runs if not math.isnan(run.seconds)) / 60
    lines = [
        f"## Scale `{found.scale.name}`",
        "",
        f"{_capital(found.scale.data)}. Pruning takes 35 epochs of {found.scale.steps} steps. "
        f"Here: {len(found.seeds)} seeds, {len(runs)} runs of {len(found.arms)} arms, "
        f"{minutes:.0f} minutes of training in all (wall time, on a machine that was shared).",
        "",
        f"**{_capital(counted(found.found))}.**",
        "",
        *_in_short(found),
        *_claims(found.found),
        "Command, which resumes what was stopped; `--figure=N` runs one figure alone:",
        "",
        "```",
        f"tfshed reproduce --all --scale={found.scale.name} "
        f"--workdir=runs/cascade_{found.scale.name}",
        "```",
        "",
    ]
    for number, picture in found.pictures.items():
        name = f"reproduction_{found.scale.name}_{number}.png"
        (path.parent / PICTURES).mkdir(exist_ok=True)
        shutil.copyfile(picture, path.parent / PICTURES / name)
        lines += [
            f"### Figure {number}: {FIGURES[number].title}",
            "",
            f"![Figure {number}: means over seeds with their range]({PICTURES}/{name})",
            "",
        ]
    lines += ["### All arms", "", *_table(found), ""]
    return "\n".join(lines)


def _in_short(found: Reproduction) -> list[str]:
    """The claims by verdict, and a warning where there is no shedding whose effects could show."""
    lines = []
    for verdict in (HOLDS, DOES_NOT, NOT_DECIDED):
        numbers = [str(each.claim.number) for each in found.found if each.verdict == verdict]
        lines.append(f"* {_capital(verdict)}: {', '.join(numbers) or 'none'}.")
    if arms.MAIN in found.arms:
        gap = estimate(found.arms[arms.MAIN].each(lambda run: run.widest))
        if gap.mean < SHARE * 0.15:
            lines += [
                "",
                f"The largest gap of the main arm is {gap} here, and 0.15 in the paper: this net "
                "hardly sheds. The claims about what shedding does to accuracy and to the set of "
                "kept weights are then tested without their cause, and their failure says nothing "
                "about nets that do shed. Claims of an absence (7, 8, 13) hold trivially.",
            ]
    return [*lines, ""]


def _claims(found: Sequence[Found]) -> list[str]:
    lines = ["| | claim (paper's number) | verdict | numbers |", "|---|---|---|---|"]
    for each in found:
        claim = each.claim
        lines.append(
            f"| {claim.number} | {claim.says} ({claim.paper}); section {claim.section} | "
            f"**{each.verdict}** ({each.seeds} seeds) | {'<br>'.join(each.numbers)} |"
        )
    return [*lines, ""]


def _table(found: Reproduction) -> list[str]:
    lines = [
        "| arm | largest gap | final keep-ratio | dip in 3 epochs | final accuracy |",
        "|---|---|---|---|---|",
    ]
    for name, arm in found.arms.items():
        cells = [
            arm.each(lambda run: run.widest),
            arm.each(lambda run: run.epochs[-1]["actual"]),
            arm.each(lambda run: run.dip()),
            arm.each(lambda run: run.final),
        ]
        lines.append(f"| {name} | " + " | ".join(_spread(cell) for cell in cells) + " |")
    return [*lines, "", "Mean and standard deviation over seeds."]


def _spread(values: Sequence[float]) -> str:
    text = f"{statistics.fmean(values):.3f}"
    return f"{text} ± {statistics.stdev(values):.3f}" if len(values) > 1 else text


def _planned(scale: Scale) -> str:
    names = list(dict.fromkeys(name for figure in FIGURES.values() for name in figure.arms))
    lines = plan(scale, names, seeds=3).splitlines()
    told = [line for line in lines if not line.startswith("  ")]
    head = [f"## Scale `{scale.name}`", "", "Not run.", ""]
    return "\n".join([*head, *(_capital(line) for line in told), ""])


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
