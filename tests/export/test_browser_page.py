"""The page that runs a dense and a sparse file side by side, in a real browser."""

from __future__ import annotations

import importlib.util
import json
import threading
import urllib.error
import urllib.request
from pathlib import Path

import _litert_js
import keras
import numpy as np
import pytest

from tests.export import browser
from tests.export import pointwise_nets as nets
from tfshed import export

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="one backend is enough"
)
ROOT = Path(__file__).parents[2]


def serve_module():
    spec = importlib.util.spec_from_file_location("serve", ROOT / "scripts/browser/serve.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_lacking_is_named_and_nothing_else_is_served(tmp_path, monkeypatch):
    serve = serve_module()
    (tmp_path / "dense.tflite").touch()
    with pytest.raises(FileNotFoundError, match=r"sparse.tflite, examples.json is not there"):
        serve.server(tmp_path)
    for name in ("sparse.tflite", "examples.json"):
        (tmp_path / name).write_text("{}")
    (tmp_path.parent / "secret").write_text("secret")
    serving = serve.server(tmp_path)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    try:
        at = f"http://127.0.0.1:{serving.server_port}"
        assert b"Dense and sparse" in urllib.request.urlopen(f"{at}/").read()
        assert urllib.request.urlopen(f"{at}/files/examples.json").read() == b"{}"
        for path in (
            "/files/../secret",
            "/files/%2e%2e/secret",
            "/../_litert_js.py",
            "/files/none",
        ):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(at + path)
    finally:
        serving.shutdown()
        serving.server_close()


@pytest.mark.slow
def test_the_page_shows_both_files_and_their_times(tmp_path):
    lacking = browser.missing() or _litert_js.missing()
    if lacking:
        pytest.skip(lacking)
    files = tmp_path / "files"
    images = np.random.default_rng(0).uniform(0, 255, (2, *nets.SHAPE)).round()
    found = {}
    for name, sparsity in (("dense", 0.0), ("sparse", 0.85)):
        keras.utils.set_random_seed(0)
        model = nets.v1() if not sparsity else nets.pruned(nets.v1, sparsity)
        report = export.litert(model, files / f"{name}.tflite", batch_size=1)
        found[name] = (report.size, int(np.asarray(model(images[:1])).argmax()))
    classes = [f"class {i}" for i in range(10)]
    examples = [{"label": i, "pixels": image.ravel().tolist()} for i, image in enumerate(images)]
    page = {"shape": [1, *nets.SHAPE], "classes": classes, "images": examples}
    (files / "examples.json").write_text(json.dumps(page))
    serving = serve_module().server(files)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    try:
        with browser.opened(f"http://127.0.0.1:{serving.server_port}/", tmp_path / "c") as shown:
            rows = json.loads(shown.wait_for("return document.body.dataset.rows"))
            text = shown.run(browser.TEXT)
            (tmp_path / "page.png").write_bytes(shown.screenshot())
    finally:
        serving.shutdown()
        serving.server_close()
    assert {row["name"]: (row["size"], row["says"]) for row in rows} == {
        name: (size, classes[label]) for name, (size, label) in found.items()
    }
    assert all(0 <= row["least"] <= row["median"] for row in rows)
    assert "times smaller" in text and "class 0" in text
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
