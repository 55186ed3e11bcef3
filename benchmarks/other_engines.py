"""Do zeros make anything faster elsewhere? One net of dense layers in many engines, in one run.

    python benchmarks/other_engines.py [--sparsity 0.85 0.95] [--batch 1 16 64]

Three layers of 1024 units with relu run with their kernels dense and pruned at random (LiteRT: in
blocks of 4 inputs). Engines with sparse matrices get the pruned kernels as such; the others get
them with their zeros. One core is used. Prints for each engine the least time of the dense net in
milliseconds, and the time of the pruned net relative to it in the same engine: below 1 is faster.
Engines that are not installed are named and left out: `pip install openvino onnxruntime onnx`.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import importlib.util
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

if hasattr(os, "sched_setaffinity"):  # before anything counts the cores
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np

import tfshed
from tfshed.export.litert.interpreter import interpreter

WIDTH, LAYERS = 1024, 3
ROUNDS, SECONDS = 5, 0.5  # seconds for each pair, in so many turns
Kernels = list[np.ndarray]
Run = Callable[[], object]


def tensorflow(kernels: Kernels, x: np.ndarray, pruned: bool, *, jit: bool = False) -> Run:
    import tensorflow as tf

    constants, given = [tf.constant(kernel) for kernel in kernels], tf.constant(x)

    @tf.function(jit_compile=jit)
    def net(x):
        for kernel in constants:
            x = tf.nn.relu(tf.matmul(x, kernel))
        return x

    return lambda: net(given).numpy()


def tensorflow_sparse_tensor(kernels: Kernels, x: np.ndarray, pruned: bool) -> Run:
    import tensorflow as tf

    if not pruned:
        return tensorflow(kernels, x, pruned)
    sparse, given = [tf.sparse.from_dense(kernel.T) for kernel in kernels], tf.constant(x.T)

    @tf.function
    def net(x):
        for kernel in sparse:
            x = tf.nn.relu(tf.sparse.sparse_dense_matmul(kernel, x))
        return x

    return lambda: net(given).numpy()


def tensorflow_csr(kernels: Kernels, x: np.ndarray, pruned: bool) -> Run:
    import tensorflow as tf
    from tensorflow.python.ops.linalg.sparse import sparse_csr_matrix_ops as csr

    if not pruned:
        return tensorflow(kernels, x, pruned)
    matrices = [csr.CSRSparseMatrix(tf.constant(kernel.T)) for kernel in kernels]
    given = tf.constant(x.T)

    @tf.function
    def net(x):
        for matrix in matrices:
            x = tf.nn.relu(csr.matmul(matrix, x))
        return x

    return lambda: net(given).numpy()


def jax(kernels: Kernels, x: np.ndarray, pruned: bool) -> Run:
    import jax
    from jax import numpy as jnp
    from jax.experimental import sparse

    make = sparse.BCOO.fromdense if pruned else jnp.asarray
    constants, given = [make(kernel) for kernel in kernels], jnp.asarray(x)

    @jax.jit
    def net(constants, x):
        for kernel in constants:
            x = jax.nn.relu(x @ kernel)
        return x

    return lambda: net(constants, given).block_until_ready()


def torch(kernels: Kernels, x: np.ndarray, pruned: bool) -> Run:
    import torch

    constants = [torch.from_numpy(np.ascontiguousarray(kernel.T)) for kernel in kernels]
    if pruned:
        constants = [constant.to_sparse_csr() for constant in constants]
    given = torch.from_numpy(np.ascontiguousarray(x.T))

    def net():
        with torch.inference_mode():
            y = given
            for constant in constants:
                y = torch.relu(constant @ y)
            return y

    return net


def onnx_file(kernels: Kernels, x: np.ndarray) -> bytes:
    """The net as an ONNX file, a MatMul and a Relu for each layer."""
    from onnx import TensorProto, checker, helper, numpy_helper

    nodes, last = [], "x"
    for i in range(len(kernels)):
        nodes.append(helper.make_node("MatMul", [last, f"kernel{i}"], [f"product{i}"]))
        nodes.append(helper.make_node("Relu", [f"product{i}"], [f"y{i}"]))
        last = f"y{i}"
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(x.shape))]
        for name in ("x", last)
    ]
    stored = [numpy_helper.from_array(kernel, f"kernel{i}") for i, kernel in enumerate(kernels)]
    graph = helper.make_graph(nodes, "net", *ends, stored)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 10
    checker.check_model(made)
    return made.SerializeToString()


def onnxruntime(kernels: Kernels, x: np.ndarray, pruned: bool) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        onnx_file(kernels, x), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, {"x": x})[0]


def openvino(kernels: Kernels, x: np.ndarray, pruned: bool) -> Run:
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.onnx")
        path.write_bytes(onnx_file(kernels, x))
        net = openvino.convert_model(path)
    # Without the first hint it computes in bfloat16 on processors that can.
    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": "1"}
    compiled = openvino.compile_model(net, "CPU", hints)
    request = compiled.create_infer_request()
    return lambda: request.infer([x])[0]


def litert(kernels: Kernels, x: np.ndarray, pruned: bool) -> Run:
    layers = [keras.layers.Dense(WIDTH, "relu", use_bias=False) for _ in kernels]
    model = keras.Sequential([keras.Input((WIDTH,)), *layers])
    model.set_weights(kernels)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.tflite")
        tfshed.export.litert(model, path, sparse=pruned, batch_size=len(x), verify=False)
        running = interpreter(path.read_bytes(), 1)
    running.allocate_tensors()
    (given,), (wanted,) = running.get_input_details(), running.get_output_details()

    def net():
        running.set_tensor(given["index"], x)
        running.invoke()
        return running.get_tensor(wanted["index"])

    return net


# By name: what makes a function that runs the net once, whether kernels are pruned in blocks, and
# the packages that are needed.
ENGINES: dict[str, tuple[Callable[..., Run], bool, tuple[str, ...]]] = {
    "TensorFlow": (tensorflow, False, ("tensorflow",)),
    "TensorFlow, XLA": (lambda *a: tensorflow(*a, jit=True), False, ("tensorflow",)),
    "TensorFlow, SparseTensor": (tensorflow_sparse_tensor, False, ("tensorflow",)),
    "TensorFlow, CSR": (tensorflow_csr, False, ("tensorflow",)),
    "JAX, BCOO": (jax, False, ("jax",)),
    "PyTorch, CSR": (torch, False, ("torch",)),
    "ONNX Runtime": (onnxruntime, False, ("onnxruntime", "onnx")),
    "OpenVINO": (openvino, False, ("openvino", "onnx")),
    "LiteRT, 4x1 blocks": (litert, True, ("tensorflow",)),
}


def kernels_of(sparsity: float, blocks: bool) -> Kernels:
    """Random kernels (inputs, outputs) with this fraction of zeros, singly or 4 inputs at once."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(LAYERS):
        kernel = random.normal(0, np.sqrt(2 / WIDTH), (WIDTH, WIDTH)).astype("float32")
        kept = random.random((WIDTH // 4 if blocks else WIDTH, WIDTH)) >= sparsity
        found.append(kernel * (np.repeat(kept, 4, axis=0) if blocks else kept))
    return found


def expected(kernels: Kernels, x: np.ndarray) -> np.ndarray:
    for kernel in kernels:
        x = np.maximum(x @ kernel, 0)
    return x


def checked(run: Run, kernels: Kernels, x: np.ndarray) -> Run:
    """The same function, after one run whose result was compared with NumPy's."""
    found, right = np.asarray(run()), expected(kernels, x)
    if found.shape != right.shape:
        found = found.T
    if not np.abs(found - right).max() <= 1e-4 * np.abs(right).max():
        raise RuntimeError("the engine gives other numbers than NumPy")
    return run


def least(runs: list[Run]) -> list[float]:
    """The shortest milliseconds of each function, which are called by turns."""
    best = [float("inf")] * len(runs)
    for _ in range(ROUNDS):
        for i, run in enumerate(runs):
            run()
            end = time.perf_counter() + SECONDS / ROUNDS / len(runs)
            while (start := time.perf_counter()) < end:
                run()
                best[i] = min(best[i], 1000 * (time.perf_counter() - start))
    return best


def prepared(name: str, sparsities, batches) -> Iterator[tuple[int, list[Run]]]:
    """For each batch size: the dense net, and the pruned ones."""
    make, blocks, _ = ENGINES[name]
    for batch in batches:
        x = np.random.default_rng(1).standard_normal((batch, WIDTH)).astype("float32")
        runs = []
        for sparsity in (0.0, *sparsities):
            kernels = kernels_of(sparsity, blocks)
            runs.append(checked(make(kernels, x, sparsity > 0), kernels, x))
        yield batch, runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sparsity", nargs="+", type=float, default=[0.85, 0.95])
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 16, 64])
    parser.add_argument("--output", type=Path, default=Path("out/other_engines"), help="a folder")
    given = parser.parse_args()
    ready: list[tuple[str, int, list[Run]]] = []
    for name, (_, _, packages) in ENGINES.items():
        lacking = [package for package in packages if importlib.util.find_spec(package) is None]
        if lacking:
            print(f"{name} is left out: {', '.join(lacking)} is not installed")
            continue
        ready += [(name, *both) for both in prepared(name, given.sparsity, given.batch)]
    print("All nets are made and checked. Timing begins.", flush=True)
    head = ["engine", "batch", "dense ms", *(f"{sparsity:.0%}" for sparsity in given.sparsity)]
    print("".join(f"{word:>{26 if i == 0 else 10}}" for i, word in enumerate(head)))
    rows = []
    for name, batch, runs in ready:
        dense, *pruned = least(runs)
        rows.append([name, batch, f"{dense:.3f}", *(f"{one / dense:.2f}" for one in pruned)])
        print("".join(f"{v!s:>{26 if i == 0 else 10}}" for i, v in enumerate(rows[-1])), flush=True)
    given.output.mkdir(parents=True, exist_ok=True)
    file = given.output / f"other_engines-{datetime.datetime.now():%Y-%m-%d}.csv"
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([head, *rows])
    print(f"Written to {file}")


if __name__ == "__main__":
    main()
