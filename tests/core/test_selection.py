"""Selection: exactly the n smallest, ties by position, however the step is run."""

from __future__ import annotations

import functools
from unittest import mock

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import ops

from tfshed.core import host_selection, selection
from tfshed.core.backend import INT32_MAX, bits, count_true, float_of
from tfshed.core.selection import boundary_key, smallest, smallest_per_group

INF_BITS = int(np.float32(np.inf).view(np.int32))
BACKEND = keras.backend.backend()


def reference(keys, scopes, n):
    """Numpy's stable order decides."""
    out = [np.zeros(k.shape, bool) for k in keys]
    for s in range(max(scopes) + 1):
        mine = [i for i, t in enumerate(scopes) if t == s]
        flat = np.concatenate([keys[i].ravel() for i in mine])
        chosen = np.zeros(flat.size, bool)
        chosen[np.argsort(flat, kind="stable")[: n[s]]] = True
        for i, part in zip(mine, np.split(chosen, np.cumsum([keys[i].size for i in mine])[:-1])):
            out[i] = part.reshape(keys[i].shape)
    return out


def eager(keys, scopes, n):
    return [ops.convert_to_numpy(m) for m in smallest(keys, scopes, n)]


@functools.cache
def traced(scopes, jit_compile, sorted_whole):
    """A compiled step; it is traced once for each combination of shapes."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(lambda k, n: smallest(k, scopes, n), jit_compile=jit_compile)
    import jax

    return jax.jit(lambda k, n: smallest(k, scopes, n))


def compiled(keys, scopes, n):
    """In a compiled step: XLA on TensorFlow and JAX; PyTorch has eager only."""
    if BACKEND == "torch":
        return eager(keys, scopes, n)
    keys = [ops.convert_to_tensor(k, dtype="int32") for k in keys]
    found = traced(tuple(scopes), True, selection.SORTED_WHOLE)(
        keys, ops.convert_to_tensor(n, dtype="int32")
    )
    return [ops.convert_to_numpy(m) for m in found]


def graph(keys, scopes, n):
    """In a step that is traced and not compiled: TensorFlow only."""
    if BACKEND != "tensorflow":
        return eager(keys, scopes, n)
    keys = [ops.convert_to_tensor(k, dtype="int32") for k in keys]
    found = traced(tuple(scopes), False, selection.SORTED_WHOLE)(
        keys, ops.convert_to_tensor(n, dtype="int32")
    )
    return [ops.convert_to_numpy(m) for m in found]


# The three ways to select: (whether in NumPy where that is possible, how many keys are sorted).
SEARCH, SORT, HOST = (False, 0), (False, selection.SORTED_WHOLE), (True, 0)


def check(how, keys, scopes, n, way=SEARCH):
    """Compares with NumPy. By default, a few keys in the memory of a CPU are searched too."""
    host, sorted_whole = way
    with (
        mock.patch.object(selection, "ON_HOST", host),
        mock.patch.object(selection, "SORTED_WHOLE", sorted_whole),
    ):
        got = how(keys, scopes, np.asarray(n, "int32"))
    for g, w in zip(got, reference(keys, scopes, n)):
        assert g.dtype == bool and g.shape == w.shape
        np.testing.assert_array_equal(g, w)


# Shapes are few: each is traced anew on JAX. The values are what varies.
SHAPES = [((7,), (3, 4), (2, 3, 5)), ((6, 1), (40,), ())]
KEYS = st.one_of(
    st.integers(-1, 3),
    st.integers(-1, INT32_MAX),
    st.sampled_from([-1, 0, 1, INF_BITS, INF_BITS + 1, INT32_MAX - 1, INT32_MAX]),
)


@st.composite
def problems(draw):
    shapes = draw(st.sampled_from(SHAPES))
    keys = []
    for shape in shapes:
        size = int(np.prod(shape))
        values = draw(st.lists(KEYS, min_size=size, max_size=size))
        keys.append(np.array(values, "int32").reshape(shape))
    scopes = draw(st.sampled_from([(0, 0, 0), (0, 1, 2), (0, 1, 0)]))
    totals = [sum(k.size for k, t in zip(keys, scopes) if t == s) for s in range(max(scopes) + 1)]
    n = [draw(st.integers(0, t)) for t in totals]
    return keys, scopes, n, draw(st.sampled_from([SEARCH, SORT]))


@pytest.mark.backend
# JAX compiles the loop anew for each call.
@settings(
    max_examples=12 if BACKEND == "jax" else 40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(problems())
def test_it_is_numpys_stable_order(problem):
    check(eager, *problem)


@pytest.mark.backend
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problems())
def test_it_is_numpys_stable_order_on_the_host(problem):
    with mock.patch.object(host_selection, "PIECE", 7):
        check(eager, *problem[:3], HOST)


@pytest.mark.backend
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problems())
def test_it_is_numpys_stable_order_in_a_compiled_step(problem):
    check(compiled, *problem)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problems())
def test_it_is_numpys_stable_order_in_a_traced_step(problem):
    check(graph, *problem)


def weights(kind, size, rng):
    parts = [rng.normal(size=size // 2), rng.normal(size=(size // 8, 4)) * 10]
    parts = [p.astype("float32") for p in parts]
    change = {
        "normal": lambda x: x,
        "ties": lambda x: np.round(x * 2) / 2,
        "zeros": lambda x: np.where(rng.random(x.shape) < 0.6, 0, x),
        "denormal": lambda x: x * np.float32(1e-41),
        "infinite": lambda x: np.where(rng.random(x.shape) < 0.1, np.inf, x),
        "nan": lambda x: np.where(rng.random(x.shape) < 0.1, np.nan, x),
        "constant": np.ones_like,
        "all zero": np.zeros_like,
        "two scales": lambda x: np.where(rng.random(x.shape) < 0.5, x * 1e-30, x * 1e30),
        "sorted": lambda x: np.sort(x, axis=None).reshape(x.shape),
        # What a fixed stride would sample badly.
        "periodic": lambda x: np.resize([1.0, 2.0, 3.0, 4.0], x.shape) * 1.0,
    }[kind]
    return [np.asarray(change(p), "float32") for p in parts]


KINDS = (
    *("normal", "ties", "zeros", "denormal", "infinite", "nan", "constant", "all zero"),
    *("two scales", "sorted", "periodic"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_the_host_copies_little_of_what_it_reads(kind, monkeypatch):
    """Where keys are told apart by a sample, what is inside of the bracket is a small part."""
    keys = np.concatenate([bits_of(p) for p in weights(kind, 400_000, np.random.default_rng(5))])
    copied = []
    divide = host_selection.divide

    def counted(*args):
        below, inside = divide(*args)
        copied.append(inside.size)
        return below, inside

    monkeypatch.setattr(host_selection, "divide", counted)
    host_selection.smallest([keys], int(0.7 * keys.size))
    assert len(copied) == 1
    # Equal keys are inside together.
    if kind in ("normal", "denormal", "nan", "sorted"):
        assert copied[0] < 0.05 * keys.size


def bits_of(x):
    return ops.convert_to_numpy(bits(x)).reshape(-1)


@pytest.mark.backend
def test_ties_with_float64_as_the_default():
    keras.config.set_floatx("float64")
    try:
        check(eager, [np.array([[3, 1, 1], [1, 2, 1]], "int32")], [0], [2])
    finally:
        keras.config.set_floatx("float32")


@pytest.mark.backend
@pytest.mark.parametrize("n", [0, 1, 5, 6, 9])
def test_folded_keys_have_the_same_smallest(n):
    keys = np.array([-5, 3, -(2**31) + 1, 0, 7, -5, -1, -2, 2**31 - 1], "int32")
    masks = [np.ones(9, bool)]
    [folded] = selection.fold_signed([keys], masks, [0], ops.convert_to_tensor(np.int32([n])))
    folded = ops.convert_to_numpy(folded)
    want = np.argsort(keys, kind="stable")[:n]
    assert (folded >= 0).all() and set(np.argsort(folded, kind="stable")[:n]) == set(want)


@pytest.mark.backend
@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_all_kinds(kind):
    parts = weights(kind, 40_000, np.random.default_rng(1))
    keys = [ops.convert_to_numpy(bits(p)) for p in parts]
    total = sum(k.size for k in keys)
    for n in (0, 1, total // 3, int(0.95 * total), total - 1, total):
        check(eager, keys, [0, 0], [n])
        check(eager, keys, [0, 0], [n], HOST)


@pytest.mark.slow
@pytest.mark.backend
@pytest.mark.parametrize("how", [eager, compiled, graph])
@pytest.mark.parametrize("kind", KINDS)
def test_millions_of_weights(kind, how):
    if how is not eager and BACKEND == "torch":
        pytest.skip("PyTorch has no compiled step here")
    parts = weights(kind, 3_000_000, np.random.default_rng(2))
    keys = [ops.convert_to_numpy(bits(p)) for p in parts]
    total = sum(k.size for k in keys)
    for n in (total // 7, int(0.85 * total)):
        check(how, keys, [0, 0], [n])
    check(how, keys, [0, 1], [keys[0].size // 3, keys[1].size - 1])


@pytest.mark.backend
def test_many_scopes_at_once_are_each_as_if_alone():
    rng = np.random.default_rng(3)
    shapes = [(1000,), (30, 40), (7,), (5000,), (64, 64)]
    keys = [
        rng.integers(-1, 50 if i % 2 else 10**9, size=s).astype("int32")
        for i, s in enumerate(shapes)
    ]
    check(eager, keys, [0, 1, 0, 2, 1], [300, 0, 4999])
    check(compiled, keys, list(range(5)), [1000, 1, 3, 0, 2048])


@pytest.mark.backend
@pytest.mark.parametrize("kind", ["normal", "zeros", "two scales", "nan"])
def test_the_search_reads_the_weights_a_few_times_only(kind, monkeypatch):
    """Bisection alone would need 31 passes: the sample and the secant rule are what saves them."""
    parts = weights(kind, 200_000, np.random.default_rng(4))
    keys = [ops.convert_to_numpy(bits(p)) for p in parts]
    total = sum(k.size for k in keys)
    passes = []
    counted = selection.count

    def count(*args):
        passes.append(1)
        return counted(*args)

    monkeypatch.setattr(selection, "count", count)
    for share in (0.3, 0.7, 0.95):
        passes.clear()
        boundary_key(keys, [0, 0], np.array([int(share * total)], "int32"))
        assert len(passes) <= 14


@pytest.mark.backend
@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=8, max_size=8))
def test_bits_order_like_magnitudes_and_come_back(values):
    x = np.array(values, "float32")
    key = ops.convert_to_numpy(bits(x))
    np.testing.assert_array_equal(key, np.abs(x).view("int32"))
    np.testing.assert_array_equal(ops.convert_to_numpy(float_of(key)), np.abs(x))


@pytest.mark.backend
def test_bits_put_nan_above_infinity():
    x = np.array([np.inf, np.nan, -np.nan, -np.inf], "float32")
    key = ops.convert_to_numpy(bits(x))
    assert key[0] == key[3] == INF_BITS and (key[1:3] > INF_BITS).all()


@pytest.mark.backend
@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(-1, 4), min_size=24, max_size=24),
    st.integers(0, 4),
)
def test_the_smallest_of_every_group_are_numpys_stable_order(values, n):
    keys = np.array(values, "int32").reshape(2, 3, 4)
    want = np.zeros(keys.shape, bool)
    order = np.argsort(keys, axis=-1, kind="stable")[..., :n]
    np.put_along_axis(want, order, True, axis=-1)
    np.testing.assert_array_equal(ops.convert_to_numpy(smallest_per_group(keys, n)), want)
    if BACKEND == "tensorflow":
        step = compiled_groups()
        np.testing.assert_array_equal(step(ops.convert_to_tensor(keys), np.int32(n)).numpy(), want)


@functools.cache
def compiled_groups():
    import tensorflow as tf

    signature = [tf.TensorSpec((2, 3, 4), tf.int32), tf.TensorSpec((), tf.int32)]
    return tf.function(smallest_per_group, input_signature=signature, jit_compile=True)


@pytest.mark.backend
@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 1000, 300_000])
def test_trues_are_counted(size):
    mask = np.random.default_rng(6).random(size) < 0.7
    for x in (mask, np.ones(size, bool), mask.reshape(-1, 1)):
        assert int(count_true(ops.convert_to_tensor(x))) == x.sum()
