"""The commands of `tfshed`: from words to files, on digits."""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
from pathlib import Path

import keras
import pytest

import tfshed
import tfshed_command
from tfshed.commands.run_command import run_command
from tfshed.core.near_miss import near_miss
from tfshed.experiments import Run, recipe_files
from tfshed.experiments.interruption import InterruptedRunError
from tfshed.experiments.non_finite import NonFiniteError

ROOT = Path(__file__).parents[1]
DIGITS = "--config=digits_resnet8"
SMALL = (
    "--config.scale=0.2",
    "--config.model.options.width=4",
    "--config.train.epochs=10",
    "--config.prune.epochs=10",
)


@pytest.fixture
def command(capsys):
    """Runs a command in this process; gives its exit code and what it printed."""

    def run(name, *words):
        code = run_command(name, [str(word) for word in words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_train_prune_evaluate_export(command, tmp_path):
    base, pruned, exported = (tmp_path / name for name in ("base", "pruned", "exported"))
    code, out, err = command("train", DIGITS, f"--workdir={base}", *SMALL)
    assert code == 0, err
    assert "train resnet8  6/6 steps" in out and "after accuracy" in out
    words = (DIGITS, f"--workdir={pruned}", f"--config.initial_weights={base}", *SMALL)
    code, out, err = command("prune", *words)
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
    change = found["after"]["accuracy"] - found["before"]["accuracy"]
    assert found["change"]["accuracy"] == pytest.approx(change)
    assert f"change accuracy {change:+.4g}" in " ".join(out.split())
    assert found["weights"]["bytes"] == 4 * found["parameters"]
    assert found["weights"]["bytes_compressed"] < found["weights"]["bytes"] / 2
    assert "weights bytes compressed" in out
    assert found["keep_target"] == pytest.approx(0.1) and found["kernel_sparsity"] >= 0.89
    recorded = json.loads((pruned / "settings.json").read_text())
    assert recorded["settings"]["config"]["scale"] == 0.2
    assert "keras" in recorded["versions"] and "git" in recorded
    # The same command again: there is nothing left to do.
    code, out, _ = command("prune", *words)
    assert code == 0 and "this run is finished" in out and "keep actual" in out
    code, out, err = command("evaluate", pruned)
    assert code == 0, err
    shown = dict(line.split(None, 1) for line in out.splitlines() if line.startswith("accuracy"))
    assert float(shown["accuracy"]) == pytest.approx(found["after"]["accuracy"], abs=1e-4)
    code, out, err = command("export", f"--model={pruned}", f"--output={exported}")
    assert code == 0, err
    assert (exported / "saved_model.pb").exists() and "not zero" in out
    for kind, name in (("keras", "k.keras"), ("litert", "l.tflite"), ("shrink", "s.keras")):
        code, out, err = command(
            "export", f"--model={pruned}", f"--output={tmp_path / name}", f"--format={kind}"
        )
        assert code == 0, err
        assert (tmp_path / name).is_file()
    code, out, err = command(
        "export", f"--model={pruned}", f"--output={tmp_path / 'r'}", "--format=report"
    )
    assert code == 0 and (tmp_path / "r" / "report.html").exists() and "XNNPACK" in out
    # Another recipe in the folder of a run is refused, and named.
    code, _, err = command("prune", *words, "--config.prune.momentum=0")
    assert code == 2 and "prune.momentum was 0.9, now 0.0" in err


def test_the_plan_is_printed_and_nothing_is_written(command, tmp_path):
    code, out, err = command(
        "prune", DIGITS, f"--workdir={tmp_path / 'run'}", *SMALL, "--dry_run",
        "--config.initial_weights=fresh",
    )  # fmt: skip
    assert code == 0, err
    for word in ("pruning updates", "masks of pruning", "Target keep-ratio", "whole run"):
        assert word in out
    assert not (tmp_path / "run").exists()


def test_help_lists_the_flags(command):
    for name, wanted in (
        ("prune", "--virtual_devices"),
        ("prune", "--config.model.options.width=8"),
        ("train", "--[no]resume: Resume a run"),
        ("evaluate", "--fraction"),
        ("export", "litert: Writes the model"),
    ):
        code, out, _ = command(name, "--help")
        assert code == 0 and wanted in out and "--backend" in out


def test_every_module_of_a_command_is_in_the_table_of_commands(command):
    modules = {file.stem for file in (ROOT / "tfshed" / "commands").glob("*.py")}
    for name, summary in tfshed_command.COMMANDS.items():
        assert name in modules
        _, out, _ = command(name, "--help")
        assert out.startswith(summary)
    with_command = [
        name
        for name in modules
        if "\nCOMMAND = " in (ROOT / "tfshed" / "commands" / f"{name}.py").read_text()
    ]
    assert sorted(with_command) == sorted(tfshed_command.COMMANDS)


def main(monkeypatch, *words):
    monkeypatch.setattr(tfshed_command, "prepare", lambda words: None)
    with pytest.raises(SystemExit) as stop:
        tfshed_command.main(list(words))
    return stop.value.code


def test_the_first_word_is_the_command(monkeypatch, capsys):
    assert main(monkeypatch) == 0
    assert "tfshed prunes Keras models." in capsys.readouterr().out
    assert main(monkeypatch, "--help") == 0
    out = capsys.readouterr().out
    assert all(f"tfshed {name}" in out for name in tfshed_command.COMMANDS)
    assert main(monkeypatch, "prun") == 2
    assert "Did you mean 'prune'?" in capsys.readouterr().err
    assert main(monkeypatch, "recipes", "digits_resnet8") == 0
    assert "Arms: momentum9, momentum0." in capsys.readouterr().out


def test_scripts_are_commands(monkeypatch):
    called = []
    monkeypatch.setattr(tfshed_command, "main", called.append)
    monkeypatch.setattr(sys, "argv", ["x.py", "--help"])
    names = [name for name in tfshed_command.COMMANDS if name not in ("recipes", "report")]
    for name in names:
        runpy.run_path(str(ROOT / "scripts" / f"{name}.py"), run_name="__main__")
    assert called == [[name, "--help"] for name in names]


def test_the_backend_is_set_before_keras_is_imported(monkeypatch):
    monkeypatch.setattr(tfshed_command, "import_tensorflow", lambda: None)
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setenv("XLA_FLAGS", "--known=1")
    tfshed_command.prepare([])
    assert os.environ["KERAS_BACKEND"] == "torch"
    tfshed_command.prepare(["--backend=jax", "--virtual_devices", "2"])
    assert os.environ["KERAS_BACKEND"] == "jax"
    assert os.environ["XLA_FLAGS"] == "--known=1 --xla_force_host_platform_device_count=2"
    monkeypatch.delenv("KERAS_BACKEND")
    tfshed_command.prepare([])
    assert os.environ["KERAS_BACKEND"] == "tensorflow"


def test_recipes_are_listed_with_what_they_show_and_cost(command):
    code, out, err = command("recipes")
    assert (code, err) == (0, "")
    for kind in recipe_files.KINDS:
        for name in recipe_files.names(kind):
            found = recipe_files.read(name, kind)
            assert f"\n  {name}\n      {found.title}\n" in out
            # Every file says what it costs, if only that nobody knows.
            assert found.title.endswith((".", "?")) and found.time != "not known.", name
            assert "Expected" not in found.time
    assert "Arms: momentum9, momentum0." in out
    assert "Time: half a minute for each command, on two CPU cores." in out


def test_fields_are_listed(command):
    code, out, _ = command("recipes", "--fields")
    assert code == 0 and "--config.prune.momentum=0.9\n" in out
    assert "`collapse_guard`" in out and "Example" not in out
    code, out, _ = command("recipes", "digits_resnet8:momentum0", "--fields")
    assert code == 0 and "--config.prune.momentum=0.0\n" in out
    assert "--config.model.options.bn_momentum=0.9\n" in out
    code, _, err = command("recipes", "digits_resnet9")
    assert code == 2 and "Did you mean 'digits_resnet8'?" in err
    assert near_miss("digit", recipe_files.names("grid"))
    code, out, _ = command("recipes", "digits")
    assert code == 0 and "tfshed compare" in out


def test_a_recipe_file_of_ones_own(command, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from tfshed.experiments import recipe\n"
        "def get_config():\n"
        "    config = recipe()\n"
        "    config.model.name = 'lenet_300_100'\n"
        "    return config\n"
    )
    words = (f"--config={file}", f"--workdir={tmp_path / 'run'}", "--dry_run")
    code, out, err = command("train", *words, "--config.train.epochs=2")
    assert code == 0, err
    assert "lenet_300_100" in out
    file.write_text("")
    code, _, err = command("train", *words)
    assert code == 2 and "expected a function get_config in" in err


def test_report_on_a_model_that_is_being_pruned(command, tmp_path):
    net = keras.Sequential([keras.Input((32,)), keras.layers.Dense(16, name="hidden")])
    pruned = tfshed.prune_low_magnitude(
        tfshed.sparsify(net, 0.75), tfshed.ConstantSparsity(0.75, 0)
    )
    pruned.save(tmp_path / "m.keras")
    code, out, err = command("report", tmp_path / "m.keras", "--formats=keras,deflated_keras")
    assert code == 0, err
    assert "sparsity of the kernels: 75.00%" in out
    assert out.startswith(
        "Sparse:  yes, 75.0% of the weights of its kernels are zero.\nSmaller: yes,"
    )
    assert "bytes with `tfshed export --format=keras`.\nFaster:  no," in out
    code, out, err = command(
        "report", f"--model={tmp_path / 'm.keras'}", "--formats=", f"--output={tmp_path / 'r'}"
    )
    assert code == 0, err
    assert (tmp_path / "r" / "report.html").is_file() and f"Written to {tmp_path / 'r'}." in out
    code, _, err = command("report")
    assert code == 2 and "--model" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--config.prune.momentm=0"], """there is no field 'momentm' Did you mean "momentum\""""),
        (["--config=digits_resnet9"], "received 'digits_resnet9'. Did you mean 'digits_resnet8'?"),
        (["--config=my/digits_resnet.py"], "Did you mean 'digits_resnet8'?"),
        (["--config=digits_resnet8:momentum10"], "'momentum10'. Did you mean 'momentum0'?"),
        (["--config=mnist_lenet_300_100:small"], "expected mnist_lenet_300_100 without an arm"),
        (["--config="], "config: expected the name of a recipe or a file, received none"),
        (["--config.modle.options.width=8"], """there is no field 'modle' Did you mean "model\""""),
        (
            ["--config.model.options.widht=8", "--config.initial_weights=fresh"],
            "Did you mean 'width'?",
        ),
        (["--workdirs=x"], "Unknown command line flag 'workdirs'. Did you mean: workdir"),
        (["stray"], "expected flags only, received stray"),
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
def test_wrong_input_is_one_line_and_exit_code_2(command, tmp_path, words, said):
    code, _, err = command("prune", DIGITS, f"--workdir={tmp_path / 'run'}", *words)
    assert code == 2 and said in err and "Traceback" not in err
    assert err.startswith("tfshed prune: ") and err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            NonFiniteError("the loss is nan", 7, 5, 4),
            3,
            "tfshed train: the loss is nan at step 7; at",
        ),
        (InterruptedRunError(7, signal.SIGTERM), 143, "stopped by SIGTERM after step 7"),
        (InterruptedRunError(7, signal.SIGINT), 130, "stopped by SIGINT after step 7"),
    ],
)
def test_what_stops_a_run_has_an_exit_code_of_its_own(
    command, tmp_path, monkeypatch, error, code, said
):
    def stop(self, print_fn):
        raise error

    monkeypatch.setattr(Run, "run", stop)
    found, out, err = command("train", DIGITS, f"--workdir={tmp_path / 'run'}", *SMALL)
    assert found == code and said in out + err and "Traceback" not in err


def test_a_file_with_code_in_it_is_not_run(command, tmp_path):
    net = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x)])
    net.save(tmp_path / "hostile.keras")
    code, _, err = command(
        "export", f"--model={tmp_path / 'hostile.keras'}", f"--output={tmp_path / 'out'}"
    )
    assert code == 2 and "Lambda" in err and not (tmp_path / "out").exists()
