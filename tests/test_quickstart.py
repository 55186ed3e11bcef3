"""scripts/quickstart.py, on a net too small to show anything: what it writes, and going on.

The script runs in this process, which saves a start of TensorFlow, and without XLA, which would
compile five nets. The slow test goes on with its folder as users do: in a process of its own, and
with XLA.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import pytest
import quickstart

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "quickstart.py"
SMALL = ["--epochs", "2", "--pretrain_epochs", "1", "--width", "2"]
ARMS = ["GMP momentum 0.9", "GMP momentum 0", "no pruning, momentum 0.9"]
ARMS += ["fixed threshold, momentum 0.9"]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    root = str(SCRIPT.parent.parent)
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        env={**os.environ, "PYTHONPATH": root, "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
    )


def run_here(*arguments):
    """The same in this process and without XLA; returns (exit code, stdout, stderr)."""
    plain, out, err = keras.Model.compile, io.StringIO(), io.StringIO()

    def compile_without_xla(self, *args, **kwargs):
        return plain(self, *args, **{**kwargs, "jit_compile": False})

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(keras.Model, "compile", compile_without_xla)
        warnings.simplefilter("default")
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = quickstart.main([str(word) for word in arguments])
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    path = tmp_path_factory.mktemp("quickstart") / "run"
    code, out, err = run_here("--run_dir", path, *SMALL)
    assert (code, err) == (0, "")
    return path, out


def test_names_its_folder_first_and_last_and_says_what_one_seed_is_worth(first):
    path, said = first
    lines = said.splitlines()
    assert lines[0] == f"Run directory: {path}"
    assert lines[-1] == f"All files are in {path}"
    assert "One seed proves nothing" in said
    assert f"--run_dir {path} --seeds 3" in said
    assert "bit-identical" in said
    # Without a terminal: no redrawn lines, and few of them.
    assert "\r" not in said
    assert len(lines) < 60


def test_writes_table_curves_and_csv(first):
    path, _ = first
    table = json.loads((path / "table.json").read_text())
    assert list(table["arms"]) == ARMS
    assert table["settings"]["width"] == 2
    assert table["seeds"] == [0]
    assert "keras" in table["versions"]
    for name in ARMS:
        (outcome,) = table["arms"][name]
        assert 0 <= outcome["final"] <= 1
        pruned = name != "no pruning, momentum 0.9"
        assert outcome["pruned"] == pruned == (not outcome["observed"])
        # The control has a real gap: its keep-ratios are those of shadow masks.
        assert outcome["target"] < 0.2 and outcome["actual"] <= outcome["target"] + 0.01
        assert outcome["sparsity"] == pytest.approx(1 - outcome["actual"] if pruned else 0)
    assert (path / "curves_seed0.png").read_bytes().startswith(b"\x89PNG")
    # Those of the arms, and of the training before.
    assert len(list(path.glob("seed0/*/keep_ratio.csv"))) == len(ARMS) + 1
    assert "max gap" in (path / "table.txt").read_text()


def test_writes_a_report_tensorboard_files_and_the_pruned_net_and_opens_with_them(first):
    import keras

    path, said = first
    first_words = said[: said.index("max gap")]
    for name in ("report/report.html", "pruned.keras"):
        assert str(path / name) in first_words and (path / name).is_file()
    assert f"tensorboard --logdir {path / 'seed0'}" in first_words
    for name in ARMS:
        assert list(path.glob(f"seed0/{name.replace(' ', '-').replace(',', '')}/tensorboard/*"))
    net = keras.saving.load_model(path / "pruned.keras")
    kernels = [v.numpy() for v in net.trainable_variables if v.name == "kernel"]
    zeros = sum((k == 0).sum() for k in kernels) / sum(k.size for k in kernels)
    outcome = json.loads((path / "table.json").read_text())["arms"][ARMS[0]][0]
    assert zeros == pytest.approx(outcome["sparsity"], abs=1e-6)


def test_the_saved_model_has_the_zeros_and_the_outputs(first):
    import numpy as np
    import tensorflow as tf

    from tfshed import datasets

    path, _ = first
    table = json.loads((path / "table.json").read_text())
    loaded = tf.saved_model.load(str(path / "saved_model"))
    _, (images, labels) = datasets.load_digits()
    # The net takes raw images.
    images = np.rint(images * 255).astype("uint8")
    right = np.mean(np.argmax(loaded.serve(images), -1) == labels)
    outcome = table["arms"][ARMS[0]][0]
    assert right == pytest.approx(outcome["final"], abs=1e-6)
    net = keras.saving.load_model(path / "seed0" / "GMP-momentum-0.9" / "model.keras")
    kernels = [v.numpy() for v in net.trainable_variables if v.name == "kernel"]
    zeros = sum((k == 0).sum() for k in kernels) / sum(k.size for k in kernels)
    assert zeros == pytest.approx(outcome["sparsity"])


@pytest.mark.slow
def test_goes_on_with_what_is_finished(first):
    path, _ = first
    kept = path / "seed0" / "GMP-momentum-0" / "results.json"
    before = json.loads(kept.read_text())
    shutil.rmtree(path / "seed0" / "no-pruning-momentum-0.9")
    done = run("--run_dir", path, *SMALL)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Resuming this run" in done.stdout
    assert "4 of 5 runs were finished earlier" in done.stdout
    assert "no pruning, momentum 0.9  30/30 steps" in done.stdout
    assert json.loads(kept.read_text()) == before


def test_other_settings_in_the_same_folder_are_an_error(first):
    path, _ = first
    code, _, err = run_here("--run_dir", path, *SMALL[:-1], "4")
    assert code == 2
    assert "was made with other settings: config.model.options.width was 2, now 4" in err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--epochs", "0"], "expected a number >= 1, received 0"),
        (["--depth", "9"], "expected 6 n + 2 with n >= 1"),
        (["--pretrained", "weights.txt"], "expected a .weights.h5 file"),
        (
            ["--pretrained", "none.weights.h5"],
            "expected an existing file, received none.weights.h5",
        ),
    ],
)
def test_refuses_before_anything_is_made(arguments, expected, tmp_path):
    done = run("--run_dir", tmp_path / "run", *arguments)
    assert done.returncode == 2
    assert expected in done.stderr
    assert not (tmp_path / "run").exists()
