"""Sparse LiteRT files where XNNPACK has sparse kernels: they load, are right, and run as foretold.

What is foretold needs no such place; what it is compared with, LiteRT.js under Node and
ai-edge-litert under qemu, runs with `scripts/test --slow` if it is installed.
"""

from __future__ import annotations

import struct
from pathlib import Path

import keras
import numpy as np
import pytest

import tfshed
from tests.export import pointwise_nets as nets
from tests.export.engines import ENGINES
from tests.nets import normal
from tfshed import export

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="holds on TensorFlow only"
)
L = keras.layers
LARGEST = float(np.finfo("float32").max)


def engine(name):
    run, missing = ENGINES[name]
    if missing:
        pytest.skip(missing)
    return run


def written(model, path, **options):
    return export.litert(model, path, batch_size=1, **options)


def runs_sparse(found):
    """Whether the table says that XNNPACK runs a 1x1 convolution sparse, by the names of these."""
    return {row.name: row.xnnpack == "sparse" for row in found.rows if row.xnnpack}


def some_by_default(makes, chosen):
    """One parameter for each net, marked slow unless chosen."""
    return [
        pytest.param(make, id=make.__name__, marks=() if make in chosen else pytest.mark.slow)
        for make in makes
    ]


DEFAULT = (nets.v2, nets.ends_in_convolution, nets.dense_over_channels)


@pytest.mark.parametrize("make", some_by_default(nets.SPARSE, DEFAULT))
def test_what_fits_the_rules_is_foretold_as_sparse(tmp_path, make):
    found = written(nets.pruned(make), tmp_path / "net.tflite")
    foretold = runs_sparse(found)
    foretold.pop("head", None)
    assert foretold and all(foretold.values())
    assert "convolutions sparse, where it has sparse kernels (ARM" in str(found)


def over_places(axes):
    """A net that is all dense layers over the places of its inputs."""
    layers = [keras.Input(axes), L.Dense(64, activation="relu", name="point0"), L.Dense(64)]
    return tfshed.sparsify(keras.Sequential(layers), 0.85, scope="layer")


@pytest.mark.parametrize("axes", [(8, 32), (2, 4, 32)])
def test_dense_layers_that_gain_nothing_stay_dense_layers(tmp_path, axes):
    found = written(over_places(axes), tmp_path / "net.tflite")
    assert {row.op for row in found.rows} == {"FULLY_CONNECTED"}
    assert not any(row.xnnpack for row in found.rows)


REASONS = {
    "gates": "export.litert ends the sparse part there",
    "pooled_gate": "export.litert ends the sparse part there",
    "start_without_padding": "padding is not ZeroPadding2D(1)",
    "strides_without_padding": "not behind ZeroPadding2D(1)",
    "joined": "CONCATENATION",
    "maximum_pooled": "MAX_POOL_2D",
    "two_outputs": "export.litert ends the sparse part there",
    "as_resnet": "a 3x3 convolution",
}


@pytest.mark.parametrize(
    "make", some_by_default(nets.DENSE, (nets.gates, nets.joined, nets.two_outputs))
)
def test_what_does_not_fit_has_a_reason(tmp_path, make):
    found = written(nets.pruned(make), tmp_path / "net.tflite")
    assert not any(runs_sparse(found).values())
    assert REASONS[make.__name__] in str(found)


@pytest.mark.parametrize(("sparsity", "sparse"), [(0.6, False), (0.7, True)])
def test_two_thirds_of_a_part_are_counted_together(tmp_path, sparsity, sparse):
    found = written(nets.pruned(nets.v1, sparsity), tmp_path / "net.tflite")
    assert set(runs_sparse(found).values()) == {sparse}
    # The largest kernel has half of the weights: the others do not make up for it.
    model = tfshed.sparsify(nets.v1(), 0.9, select="point0|point1", scope="layer")
    found = written(model, tmp_path / "other.tflite")
    assert not any(runs_sparse(found).values()) and "not over 2/3" in str(found)


def test_where_no_reshape_can_help_the_file_is_stored_dense(tmp_path):
    """Heights and widths are open, and a RESHAPE has one open size at most."""
    inputs, x = nets.start((None, None, 3))
    x = nets.L.MaxPooling2D(2)(nets.point(x, 0, 64))
    model = nets.pruned(lambda: keras.Model(inputs, nets.pooled(nets.point(x, 1, 64))))
    found = export.litert(model, tmp_path / "net.tflite")
    assert {row.runs for row in found.rows} == {"dense"} and found.size == found.dense_size


def test_a_file_stored_dense_runs_dense(tmp_path):
    found = written(nets.pruned(nets.v1), tmp_path / "net.tflite", sparse=False)
    assert {row.xnnpack for row in found.rows} == {"", "no weights of the file are stored sparse"}


def test_the_batch_is_asked_for_in_words(tmp_path):
    model = nets.pruned(nets.v1)
    found = export.litert(model, tmp_path / "open.tflite")
    assert found.open_batch and "batch_size=1" in str(found)
    found = written(model, tmp_path / "one.tflite")
    assert not found.open_batch and "batch_size" not in str(found)
    with pytest.raises(ValueError, match="batch_size: expected a whole number >= 1, received 0"):
        export.litert(model, tmp_path / "none.tflite", batch_size=0)
    signature = [keras.InputSpec(shape=(2, *nets.SHAPE), dtype="float32")]
    with pytest.raises(ValueError, match=r"first axis is open or 1.*\(2, 16, 16, 3\)"):
        export.litert(model, tmp_path / "two.tflite", batch_size=1, input_signature=signature)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one.tflite", "open.tflite"]


def image():
    return {"image": normal(1, *nets.SHAPE)}


def difference(received, expected):
    """The largest difference by the largest output, over all outputs; inf for one with a NaN."""
    found = [np.asarray(received[name]).reshape(output.shape) for name, output in expected.items()]
    apart = [np.abs(a - b).max() / np.abs(b).max() for a, b in zip(found, expected.values())]
    return float(max(apart)) if np.isfinite(apart).all() else float("inf")


def outputs(model):
    found = model(image()["image"], training=False)
    found = found if isinstance(found, dict) else {"output_0": found}
    return {name: np.asarray(value) for name, value in found.items()}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """Sparse files of all nets, and what their models give; written once for all engines."""
    folder, files, expected = tmp_path_factory.mktemp("zoo"), [], []
    for make in (*nets.SPARSE, *nets.DENSE):
        for values in ("float32", "float16"):
            for granularity in (None, tfshed.Block(4, 1))[: 2 if make is nets.v2 else 1]:
                model = nets.pruned(make, granularity=granularity)
                blocks = "" if granularity is None else "_blocks"
                files.append(folder / f"{make.__name__}{blocks}.{values}.tflite")
                written(model, files[-1], values=values)
                expected.append(outputs(model))
    return files, expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_sparse_files_load_and_are_right_where_sparse_kernels_run(zoo, name):
    run, (files, expected) = engine(name), zoo
    wrong = {}
    for file, received, output in zip(files, run(files, [image()] * len(files)), expected):
        bound = 1e-6 if ".float32." in file.name else 5e-3  # float16 rounds the weights
        apart = received if isinstance(received, str) else difference(received, output)
        if isinstance(apart, str) or not apart <= bound:
            wrong[file.name] = apart
    assert not wrong


def poisoned(make, number, path, **options):
    """A file whose 1x1 convolution gets infinite numbers in one channel that it has no weights for.

    A dense kernel multiplies them by zero, which gives NaN; a sparse one does not look at them.
    Returns what the model gives without the infinite numbers.
    """
    model = nets.pruned(make, **options)
    kernel = model.get_layer(f"point{number}").kernel
    values = kernel.numpy()
    values[..., 0, :] = 0
    kernel.assign(values)
    expected = outputs(model)
    bias = model.get_layer(f"deep{number}").bias
    values = bias.numpy()
    values[0] = LARGEST  # LiteRT's converter makes it of an infinite number too
    bias.assign(values)
    found = written(model, path, verify=False, sparse=True)
    finite, infinite = (struct.pack("<f", value) for value in (LARGEST, np.inf))
    content = path.read_bytes()
    assert content.count(finite) == 1
    path.write_bytes(content.replace(finite, infinite))
    return expected, runs_sparse(found)[f"point{number}"]


# A net and a 1x1 convolution of it right behind a depthwise one, and how sparse the net is.
PROBES = [
    (nets.v1, 0, 0.8),
    (nets.v1, 1, 0.8),
    (nets.v1, 2, 0.7),
    (nets.v1, 2, 0.6),
    (nets.v2, 1, 0.8),
    (nets.v2, 3, 0.8),
    (nets.v2, 5, 0.6),
    (nets.five_by_five, 0, 0.8),
    (nets.dense_over_channels, 0, 0.8),
    (nets.dense_over_channels, 1, 0.8),
    (nets.five_by_five, 1, 0.8),
    (nets.resized, 1, 0.8),
    (nets.ends_in_convolution, 1, 0.8),
    (nets.ends_in_softmax, 0, 0.8),
    (nets.large_head, 0, 0.8),
    (nets.start_without_padding, 0, 0.8),
    (nets.strides_without_padding, 0, 0.8),
    (nets.joined, 2, 0.8),
    (nets.maximum_pooled, 0, 0.8),
    (nets.maximum_pooled, 1, 0.8),
    (nets.two_outputs, 0, 0.8),
    (nets.two_outputs, 1, 0.8),
]


@pytest.fixture(scope="module")
def probes(tmp_path_factory):
    """Poisoned files by name, what their models give, and what the tables foretell."""
    folder, found = tmp_path_factory.mktemp("probes"), {}
    for make, number, sparsity in PROBES:
        key = f"{make.__name__}, point{number}, {sparsity}"
        path = folder / f"{len(found)}.tflite"
        found[key] = (path, *poisoned(make, number, path, sparsity=sparsity))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_what_the_table_foretells_is_what_runs(probes, name):
    files = [path for path, _, _ in probes.values()]
    received = engine(name)(files, [image()] * len(files))
    assert not [text for text in received if isinstance(text, str)]
    ran = {
        key: difference(outputs, expected) < 1e-5
        for (key, (_, expected, _)), outputs in zip(probes.items(), received)
    }
    assert ran == {key: foretold for key, (_, _, foretold) in probes.items()}
    assert set(ran.values()) == {True, False}


@pytest.mark.slow
def test_the_probe_finds_dense_kernels_on_this_machine(tmp_path):
    """Where XNNPACK has no sparse kernels, every file of the probe gives NaN or nonsense."""
    flags = Path("/proc/cpuinfo")
    if not flags.exists() or " avx " not in flags.read_text():
        pytest.skip("this processor is no x86 with AVX")
    from tfshed.export.litert.interpreter import interpreter

    expected, foretold = poisoned(nets.v1, 1, tmp_path / "net.tflite")
    running = interpreter((tmp_path / "net.tflite").read_bytes())
    received = running.get_signature_runner("serving_default")(**image())
    assert foretold and not difference(received, expected) < 1e-5


@pytest.mark.parametrize(
    "make",
    some_by_default(
        (*nets.SPARSE, *nets.DENSE),
        (nets.ends_in_convolution, nets.dense_over_channels, nets.gates),
    ),
)
def test_the_report_and_the_table_say_the_same(tmp_path, make):
    model = nets.pruned(make)
    table = runs_sparse(written(model, tmp_path / "net.tflite"))
    found = export.report(model, formats=())
    report = {
        row.path.split("/")[-2]: verdict.faster
        for row in found.kernels
        for verdict in row.runtimes
        if verdict.runtime == "LiteRT, XNNPACK"
        and (row.shape[:2] == (1, 1) or row.layer == "Dense")
    }
    assert report == table
    assert ("on 64-bit ARM (phones)" in found.text) == any(table.values())
