"""The folders of the package: who may import whom. Imports inside of functions count too."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tfshed.core import saved_classes

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "tfshed"

# From the ground up: a room may import what stands before it in this list, and itself.
FLOORS = (
    "core",
    "attach",
    "observe",
    "export",
    "learning_rates",
    "datasets",
    "models",
    "distribution",
    "experiments",
    "commands",
    "tfmot",
    "criteria",
    "granularity",
    "schedules",
    "plots",
    "training",
    "analysis",
)
# `prune_low_magnitude` and `strip_pruning` look at the model first: only for one of tf_keras do
# they import that side, which brings TensorFlow and tfmot.
DISPATCH = {"tfshed.attach.prune", "tfshed.attach.strip", "tfshed.attach.prune_registry"}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in PACKAGE.rglob("*.py")}


def imports(path: Path) -> dict[str, list[str]]:
    """The modules of the package that a file imports, with the names that it takes from them."""
    found: dict[str, list[str]] = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for each in node.names:
                if each.name in MODULES:
                    found.setdefault(each.name, [])
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            for each in node.names:
                inner = f"{node.module}.{each.name}"
                if inner in MODULES:
                    found.setdefault(inner, [])
                else:
                    found.setdefault(node.module, []).append(each.name)
    return found


GRAPH = {name: imports(path) for name, path in MODULES.items()}


def circles() -> list[list[str]]:
    """The groups of modules that import each other (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in GRAPH[name]:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in GRAPH:
        if name not in index:
            visit(name)
    return found


def test_no_import_circles():
    assert circles() == []


@pytest.mark.parametrize("name", sorted(GRAPH))
def test_no_private_name_comes_from_another_file(name):
    private = {
        f"{module}.{each}"
        for module, names in GRAPH[name].items()
        for each in [module.rpartition(".")[2], *names]
        if each.startswith("_") and not each.startswith("__")
    }
    assert not private


def test_a_room_imports_only_rooms_below_it():
    wrong = []
    for name, found in GRAPH.items():
        room = (name.split(".") + [""])[1]
        for other in found:
            below = (other.split(".") + [""])[1]
            if room and below and FLOORS.index(below) > FLOORS.index(room):
                wrong.append(f"{name} imports {other}")
    assert not wrong


def without_docstrings(path: Path) -> str:
    """The code of a file without comments and docstrings, whose examples may use a net."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value = ast.Constant(None)
    return ast.unparse(tree)


def test_the_arrays_know_no_models():
    """The core is arrays and numbers: no layer, no model, no optimizer, no TensorFlow."""
    for name, path in MODULES.items():
        if name.startswith("tfshed.core"):
            text = without_docstrings(path)
            for word in ("keras.layers", "keras.Model", "keras.optimizers", "keras.src"):
                assert word not in text, f"{name}: {word}"


def test_every_saved_class_is_in_the_table_of_saved_names():
    """So that `import tfshed` alone lets Keras read files that name it."""
    found = {}
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            for each in node.decorator_list if isinstance(node, ast.ClassDef) else ():
                text = ast.unparse(each)
                if text.startswith("keras.saving.register_keras_serializable("):
                    given = {word.arg: ast.literal_eval(word.value) for word in each.keywords}
                    assert given.pop("package") == "tfshed"
                    found[given.pop("name", node.name)] = name
    assert found == saved_classes.FILES


# Keras' private parts stand here, each in a function with a test of its own.
PRIVATE = {"tfshed.attach.keras3.private", "tfshed.attach.tf_keras.private"}
INSIDE = ("keras.src", "tf_keras.src")
THIS = ("self", "cls", "super()")
# TensorFlow's own way to leave a variable out of a checkpoint, for which Keras has no name.
TENSORFLOW = {"_serialize_to_tensors", "_restore_from_tensors", "_export_to_saved_model_graph"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def attributes_of(name: str) -> set[str]:
    tree = ast.parse(MODULES[name].read_text())
    found = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return {attribute for attribute in found if is_private(attribute)}


KERAS = set().union(*map(attributes_of, PRIVATE))


def private_parts(path: Path) -> list[str]:
    """Imports of Keras' inside, and private attributes that are not the file's own."""
    tree = ast.parse(path.read_text())
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    kinds = (ast.FunctionDef, ast.ClassDef)
    own = {node.name for node in ast.walk(tree) if isinstance(node, kinds)} | {
        node.attr
        for node in attributes
        if isinstance(node.ctx, ast.Store) and ast.unparse(node.value) in THIS
    }
    # Set around Keras' tracking, by `private.set_untracked(self, _name=...)`.
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    own |= {word.arg for call in calls for word in call.keywords if word.arg}
    own |= {
        each.id
        for node in ast.walk(tree)
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for each in ast.walk(node)
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(INSIDE):
            found.append(f"from {node.module}")
        elif isinstance(node, ast.Import):
            found += [f"import {a.name}" for a in node.names if a.name.startswith(INSIDE)]
    for node in attributes:
        holder = ast.unparse(node.value)
        # A subclass of Keras' own may not use what it inherits either.
        inherited = holder in THIS and node.attr not in KERAS
        allowed = inherited or node.attr in own | TENSORFLOW
        if is_private(node.attr) and not allowed:
            found.append(f"{holder}.{node.attr}")
        if holder == "object" and node.attr in ("__setattr__", "__delattr__"):
            found.append(f"object.{node.attr}")
        if holder.endswith("keras") and node.attr == "src":
            found.append(f"{holder}.src")
    return found


@pytest.mark.parametrize("name", sorted(set(MODULES) - PRIVATE))
def test_private_parts_of_keras_stand_in_one_module(name):
    # The core has frozen dataclasses, which set their own attributes so.
    allowed = {"object.__setattr__"} if name.startswith("tfshed.core") else set()
    assert not set(private_parts(MODULES[name])) - allowed


def test_private_parts_are_found(tmp_path):
    file = tmp_path / "some.py"
    file.write_text(
        "from keras.src.utils import tracking\n"
        "import keras\n"
        "class Own:\n"
        "    def __init__(self):\n"
        "        self._mine = 1\n"
        "        self._var_key(self._mine)\n"
        "def f(layer, own):\n"
        "    keras.src.backend\n"
        "    object.__setattr__(layer, 'note', own._mine)\n"
        "    layer._hidden = 3\n"
        "    return layer._flatten_layers()\n"
    )
    assert set(private_parts(file)) == {
        "from keras.src.utils",
        "keras.src",
        "object.__setattr__",
        "layer._flatten_layers",
        "layer._hidden",
        "self._var_key",
    }
