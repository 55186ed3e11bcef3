"""The reproduction: arms, figures and claims fit together, and a figure from runs to the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tfshed import datasets
from tfshed.experiments.grids import run_grid
from tfshed.experiments.grids.grid_file import load_grid
from tfshed.experiments.reproduction import CLAIMS, FIGURES, SCALES, arms, reproduce
from tfshed.experiments.reproduction.check_claims import check_claims
from tfshed.experiments.reproduction.page import write_report
from tfshed.experiments.reproduction.records import Arm, Record
from tfshed.experiments.reproduction.scales import digits_recipe
from tfshed.observe.csv_table import CsvTable

ROOT = Path(__file__).parents[2]
GRIDS = ROOT / "configs" / "grids"
SCALE = SCALES["digits"]
ALL = [*SCALE.arms(), *SCALE.arms(depthwise=True)]


def test_figures_and_claims_name_arms_that_there_are():
    drawn = {name for figure in FIGURES.values() for name in figure.arms}
    assert drawn == set(ALL)
    assert [claim.number for claim in CLAIMS] == list(range(1, 27))
    for claim in CLAIMS:
        needed = {name for part in claim.parts for name in part.needs}
        if claim.control is not None:
            needed |= set(claim.control.needs)
        # The command of its figure runs what a claim needs.
        assert needed <= set(FIGURES[claim.figure].arms), claim.number


@pytest.mark.parametrize("scale", ["digits", "mnist_noise", "cifar10"])
@pytest.mark.parametrize("net", ["dense", "depthwise"])
def test_grids_have_the_arms_of_their_scale(scale, net):
    grid = load_grid(f"{GRIDS / f'cascade_{scale}.py'}:{net}")
    assert list(grid.rows) == list(SCALES[scale].arms(net == "depthwise"))
    assert grid.phase == "prune" and grid.seeds == (0, 1, 2)
    for cell in grid.cells():
        assert cell.config.prune.epochs == 35 and cell.config.prune.threshold == 1e-4
        assert cell.config.prune.observe == ("shadow" in cell.row)
    if net == "dense":
        first = grid.cells()[0]
        assert first.row == arms.MAIN and first.config.prune.momentum == 0.9


def record(folder, seed, *, accuracy, gap, before=0.9):
    """A finished run made by hand: accuracy and gap at the end of each of 35 epochs."""
    folder.mkdir(parents=True)
    table = CsvTable(folder / "keep_ratio.csv", ["step", "epoch", "event"])
    for epoch in range(35):
        row = {"step": 9 * epoch + 9, "epoch": epoch, "event": "epoch", "target": 0.5}
        row |= {"actual": 0.5 - gap(epoch + 1), "gap": gap(epoch + 1)}
        table.append({**row, "val_accuracy": accuracy(epoch + 1), "learning_rate": 0.1})
    (folder / "before.json").write_text(f'{{"accuracy": {before}}}')
    (folder / "results.json").write_text('{"steps": 315, "steps_per_second": 10.0}')
    return Record(folder, seed)


def finished_runs(folder, names, seeds):
    """Run directories of arms as the grids name them, with weights of three epochs."""
    for net in ("dense", "depthwise"):
        grid = load_grid(f"{GRIDS / 'cascade_digits.py'}:{net}")
        for cell in grid.cells():
            for seed in seeds if cell.row in names else ():
                run = folder / net / f"seed{seed}" / cell.folder
                record(run, seed, accuracy=lambda epoch: 0.9, gap=lambda epoch: 0.01)
                rng = np.random.default_rng([seed, ALL.index(cell.row)])
                kernel = rng.normal(size=(3, 3, 8, 6)).astype("float32")
                (run / "epochs").mkdir()
                for epoch in (0, 20, 35):
                    kernel = np.where(
                        rng.random((3, 3, 2, 1, 6)) < 0.5, kernel.reshape(3, 3, 2, 4, 6), 0
                    )
                    arrays = {"00000": kernel.reshape(3, 3, 8, 6), "00001": np.ones(6)}
                    np.savez(run / "epochs" / f"epoch-{epoch:04d}.npz", **arrays)


def test_all_figures_are_drawn_and_reported_from_run_directories(tmp_path):
    folder, said = tmp_path / "runs", []
    finished_runs(folder, ALL, seeds=(0, 1))
    found = reproduce("digits", sorted(FIGURES), folder, GRIDS, run=False, print_fn=said.append)
    assert list(found.pictures) == [1, 2, 3, 4, 5, 6] and set(found.arms) == set(ALL)
    for path in found.pictures.values():
        assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size < 100_000
    text = "\n".join(said)
    assert text.count("2 seeds: tfshed reproduce --figure=") == len(CLAIMS)
    assert "24 of the paper's claims: " in text
    report = tmp_path / "docs" / "reproduction.md"
    report.parent.mkdir()
    report.write_text("## Scale `mnist_noise`\n\nFound before.\n")
    write_report(report, found)
    page = report.read_text()
    assert page.index("`digits`") < page.index("`mnist_noise`") < page.index("`imagenet`")
    assert "Found before." in page and "| 26 |" in page
    assert "* Holds: " in page and "this net hardly sheds" in page
    assert (report.parent / "pictures" / "reproduction_digits_6.png").is_file()
    write_report(report, found)
    assert report.read_text() == page


def test_runs_that_are_missing_are_named_and_decide_nothing(tmp_path):
    finished_runs(tmp_path, [arms.MAIN, arms.CYCLIC, arms.SHADOW], seeds=(0, 1, 2))
    (tmp_path / "dense" / "seed2" / "GMP-cyclic-momentum-0.9--run" / "results.json").unlink()
    said = []
    found = reproduce("digits", [2, 3], tmp_path, GRIDS, run=False, print_fn=said.append)
    assert list(found.pictures) == [2]
    # A claim is about the seeds that all of its arms have.
    assert {each.claim.number: each.seeds for each in found.found}[5] == 2
    assert found.arms[arms.MAIN].seeds == {0, 1, 2}
    assert "not finished with any seed: " in said[0] and arms.LINEAR in said[0]
    assert any("these runs are missing" in text for text in said)


@pytest.mark.slow
def test_one_figure_from_nothing(tmp_path):
    source = (
        (GRIDS / "cascade_digits.py")
        .read_text()
        .replace(
            "    rows =",
            "    config = digits_recipe(depthwise)\n"
            "    config.data.fraction = 0.25\n"
            "    config.train.epochs, config.train.learning_rate.milestones = 1, (0.5,)\n"
            "    rows =",
        )
    )
    source = source.replace("Grid(digits_recipe(depthwise), rows", "Grid(config, rows")
    (tmp_path / "cascade_digits.py").write_text(source)
    folder, said = tmp_path / "runs", []
    options = {"seeds": (0, 1), "print_fn": said.append}
    found = reproduce("digits", [2], folder, tmp_path, **options)
    assert set(found.arms) == {arms.MAIN, arms.CYCLIC, arms.SHADOW} and found.seeds == (0, 1)
    assert "3 arms x 2 seeds" in said[0] and (folder / "figure2.png").is_file()
    # What is finished is not run again.
    said.clear()
    reproduce("digits", [2], folder, tmp_path, **options)
    assert any("8 of 8 runs were finished earlier" in line for line in said)


def test_the_steps_of_a_scale_are_those_of_its_data():
    # The weight decay of the arms is made of them.
    config = digits_recipe()
    data = datasets.load(config.data.name)
    assert data.steps_per_epoch(config.prune.batch_size) == SCALE.steps
    assert data.examples["test"] == SCALE.tests


def test_scales_that_are_planned_say_what_they_cost(tmp_path):
    said = []
    assert reproduce("imagenet", [1], tmp_path, GRIDS, print_fn=said.append) is None
    assert "GPU hours" in said[0] and arms.LINEAR in said[0] and not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError, match="expected a file, or the name of a grid"):
        reproduce("imagenet", [1], tmp_path, GRIDS, planned=True)
    with pytest.raises(ValueError, match="Did you mean 'digits'"):
        reproduce("digit", [1], tmp_path, GRIDS)
    with pytest.raises(ValueError, match="figures: expected"):
        reproduce("digits", [7], tmp_path, GRIDS)


def made(tmp_path, **changes):
    """Three arms with nothing to see, accuracy 0.9 and no gap, of three seeds; `changes` differ."""
    found = {}
    for number, name in enumerate([arms.MAIN, arms.ZERO, arms.SHADOW]):
        given = changes.get(name, {})
        runs = []
        for seed in range(3):
            values = {"accuracy": lambda epoch: 0.9, "gap": lambda epoch: 0.001} | given
            runs.append(record(tmp_path / f"{number}-{seed}", seed, **values))
        found[name] = Arm(name, runs)
    return found


def verdicts(found):
    return {each.claim.number: each.verdict for each in check_claims(found, SCALE, [3], "x")}


def test_claims_about_gaps_and_dips(tmp_path):
    nothing = verdicts(made(tmp_path / "nothing"))
    assert nothing[8] == "holds" and nothing[7] == "holds"
    assert nothing[9] == "does not hold" and nothing[6] == "does not hold"
    # Claim 14 is a difference of exactly 0; claim 10 lacks its runs.
    assert nothing[14] == "not decided" and nothing[10] == "not decided"
    shed = {
        arms.MAIN: {
            "gap": lambda epoch: 0.15 if epoch < 10 else 0.0,
            "accuracy": lambda epoch: 0.2 if epoch < 3 else 0.91,
        }
    }
    found = made(tmp_path / "shed", **shed)
    cascade = verdicts(found)
    assert cascade[9] == cascade[6] == "holds"
    assert cascade[14] == "holds"  # all three seeds are 0.01 ahead
    # One seed decides nothing, however large the effect.
    one = {name: Arm(name, arm.records[:1]) for name, arm in found.items()}
    assert set(verdicts(one).values()) == {"not decided"}


def test_the_numbers_of_a_claim_are_those_of_its_runs(tmp_path):
    dip = {"accuracy": lambda epoch: {1: 0.8, 2: 0.5}.get(epoch, 0.85)}
    run = record(tmp_path / "run", 0, gap=lambda epoch: 0.3 if epoch == 5 else 0.1, **dip)
    assert run.dip() == pytest.approx(0.4) and run.widest == 0.3 and run.gap(5) == 0.3
    assert run.final == 0.85 and run.seconds == 31.5
    np.testing.assert_allclose(run.curve("val_accuracy")[:3], [0.8, 0.5, 0.85])
    # Stopped after its last step.
    (tmp_path / "run" / "results.json").write_text('{"steps": 315, "steps_per_second": null}')
    assert np.isnan(run.seconds)
    with pytest.raises(ValueError, match="epoch: expected one that"):
        run.weights(5)


def test_a_grid_runs_only_rows_that_it_has(tmp_path):
    grid = load_grid(str(GRIDS / "cascade_digits.py"))
    with pytest.raises(ValueError, match="rows: expected some of"):
        run_grid(grid, tmp_path / "g", rows=["no such row"])
