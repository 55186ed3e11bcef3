"""scripts/train.py, prune.py, evaluate.py, export.py: from flags to files, on digits."""

from __future__ import annotations

import json
import runpy
import signal
import sys
from pathlib import Path

import _cli
import pytest
from absl import app, flags

from tfshed.experiments import Run
from tfshed.experiments.interruption import InterruptedRunError
from tfshed.experiments.non_finite import NonFiniteError

# ml_collections loads recipes in a way that Python 3.15 will no longer have.
pytestmark = pytest.mark.filterwarnings("ignore:.*load_module:DeprecationWarning")
ROOT = Path(__file__).parents[1]
DIGITS = f"--config={ROOT / 'configs' / 'digits_resnet8.py'}"
SMALL = (
    "--config.scale=0.2",
    "--config.model.options={'width': 4, 'bn_momentum': .9}",
    "--config.train.epochs=10",
    "--config.prune.epochs=10",
)


@pytest.fixture
def script(monkeypatch, capsys):
    """Runs a script's main in this process; gives its exit code and what it printed."""
    # Flags are one set for a whole process, and each script defines its own.
    monkeypatch.setattr(_cli, "_prepare", lambda argv: None)
    monkeypatch.setattr(_cli, "_without_places_in_code", lambda: None)
    app.define_help_flags()  # once for a process, too
    mine = set(flags.FLAGS)

    def run(name, *words):
        monkeypatch.setattr(sys, "argv", [f"scripts/{name}.py", *map(str, words)])
        try:
            with pytest.raises(SystemExit) as stop:
                runpy.run_path(str(ROOT / "scripts" / f"{name}.py"), run_name="__main__")
        finally:
            flags.FLAGS.unparse_flags()
            for defined in [n for n in flags.FLAGS if n not in mine]:
                delattr(flags.FLAGS, defined)
        printed = capsys.readouterr()
        return stop.value.code or 0, printed.out, printed.err

    return run


def test_train_prune_evaluate_export(script, tmp_path):
    base, pruned, exported = (tmp_path / name for name in ("base", "pruned", "exported"))
    code, out, err = script("train", DIGITS, f"--workdir={base}", *SMALL)
    assert code == 0, err
    assert "train resnet8  6/6 steps" in out and "after accuracy" in out
    words = (DIGITS, f"--workdir={pruned}", f"--config.initial_weights={base}", *SMALL)
    code, out, err = script("prune", *words)
    assert code == 0, err
    for name in (
        "settings.json",
        "results.json",
        "results.txt",
        "model.keras",
        "keep_ratio.csv",
        "keep_ratio.png",
        "tensorboard",
        "checkpoints",
    ):
        assert (pruned / name).exists(), name
    found = json.loads((pruned / "results.json").read_text())
    assert found["keep_target"] == pytest.approx(0.1) and found["kernel_sparsity"] >= 0.89
    recorded = json.loads((pruned / "settings.json").read_text())
    assert recorded["settings"]["config"]["scale"] == 0.2
    assert "keras" in recorded["versions"] and "git" in recorded
    # The same command again: there is nothing left to do.
    code, out, _ = script("prune", *words)
    assert code == 0 and "this run is finished" in out and "keep actual" in out
    code, out, err = script("evaluate", f"--model={pruned}")
    assert code == 0, err
    shown = dict(line.split(None, 1) for line in out.splitlines() if line.startswith("accuracy"))
    assert float(shown["accuracy"]) == pytest.approx(found["after"]["accuracy"], abs=1e-4)
    code, out, err = script("export", f"--model={pruned}", f"--output={exported}")
    assert code == 0, err
    assert (exported / "saved_model.pb").exists() and "not zero" in out
    for kind, name in (("keras", "k.keras"), ("litert", "l.tflite"), ("shrink", "s.keras")):
        code, out, err = script(
            "export", f"--model={pruned}", f"--output={tmp_path / name}", f"--format={kind}"
        )
        assert code == 0, err
        assert (tmp_path / name).is_file()
    code, out, err = script(
        "export", f"--model={pruned}", f"--output={tmp_path / 'r'}", "--format=report"
    )
    assert code == 0 and (tmp_path / "r" / "report.html").exists() and "XNNPACK" in out
    # Another recipe in the folder of a run is refused, and named.
    code, _, err = script("prune", *words, "--config.prune.momentum=0")
    assert code == 2 and "prune.momentum was 0.9, now 0.0" in err


def test_the_plan_is_printed_and_nothing_is_written(script, tmp_path):
    code, out, err = script(
        "prune", DIGITS, f"--workdir={tmp_path / 'run'}", *SMALL, "--dry_run",
        "--config.initial_weights=fresh",
    )  # fmt: skip
    assert code == 0, err
    for word in ("pruning updates", "masks of pruning", "Target keep-ratio", "whole run"):
        assert word in out
    assert not (tmp_path / "run").exists()


def test_help_lists_the_flags(script):
    for name, wanted in (
        ("prune", "--virtual_devices"),
        ("evaluate", "--fraction"),
        ("export", "litert: Writes the model"),
    ):
        _, out, _ = script(name, "--help")
        assert wanted in out and "--backend" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--config.prune.momentm=0"], """there is no field 'momentm' Did you mean "momentum\""""),
        ([f"--config={ROOT / 'nope.py'}"], "No such file or directory"),
        (["--workdir="], "workdir: expected a folder"),
        (["--config.prune.momentum=fast"], "momentum"),
        (["--config.train.epochs=0"], "config.train.epochs: expected a whole number from 1"),
        (["--strategy=miror"], "strategy"),
        (["--config.initial_weights=nowhere"], "nothing is there"),
        ([], "pruning starts from trained weights"),
        (["--config.data.name=cifar11", "--config.initial_weights=fresh"], "cifar10"),
        (["--config.model.name=resnt20", "--config.initial_weights=fresh"], "resnet20"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(script, tmp_path, words, said):
    code, _, err = script("prune", DIGITS, f"--workdir={tmp_path / 'run'}", *words)
    # absl has an exit code of its own for its own flags.
    assert code in (1, 2) and said in err and "Traceback" not in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (NonFiniteError("the loss is nan", 7, 5, 4), 3, "train.py: the loss is nan at step 7; at"),
        (InterruptedRunError(7, signal.SIGTERM), 143, "stopped by SIGTERM after step 7"),
        (InterruptedRunError(7, signal.SIGINT), 130, "stopped by SIGINT after step 7"),
    ],
)
def test_what_stops_a_run_has_an_exit_code_of_its_own(
    script, tmp_path, monkeypatch, error, code, said
):
    def stop(self, print_fn):
        raise error

    monkeypatch.setattr(Run, "run", stop)
    found, out, err = script("train", DIGITS, f"--workdir={tmp_path / 'run'}", *SMALL)
    assert found == code and said in out + err and "Traceback" not in err


def test_a_file_with_code_in_it_is_not_run(script, tmp_path):
    import keras

    net = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x)])
    net.save(tmp_path / "hostile.keras")
    code, _, err = script(
        "export", f"--model={tmp_path / 'hostile.keras'}", f"--output={tmp_path / 'out'}"
    )
    assert code == 2 and "Lambda" in err and not (tmp_path / "out").exists()
