"""Serves the page that runs a dense and a sparse LiteRT file side by side in a browser.

    cd scripts/browser && npm install
    python scripts/browser/serve.py FOLDER [--port 8000]

FOLDER holds dense.tflite, sparse.tflite and examples.json, all of which
`python benchmarks/sparse_mobilenet.py` writes. The last one is {"shape": [1, 32, 32, 3],
"classes": ["0", ...], "images": [{"label": 3, "pixels": [0, 17, ...]}, ...]}.
Only this machine can open the page.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import _litert_js  # noqa: E402

NEEDED = ("dense.tflite", "sparse.tflite", "examples.json")


class Pages(http.server.SimpleHTTPRequestHandler):
    """The page, LiteRT.js under /litert and the user's folder under /files."""

    extensions_map = {
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def __init__(self, *args, files: Path, **options):
        self.files = files
        super().__init__(*args, directory=str(HERE), **options)

    def translate_path(self, path: str) -> str:
        for prefix, folder in (("/litert/", _litert_js.package().parent), ("/files/", self.files)):
            if path.startswith(prefix):
                self.directory = str(folder)
                return super().translate_path(path[len(prefix) - 1 :])
        self.directory = str(HERE)
        return super().translate_path(path)

    def end_headers(self) -> None:
        # A page that is isolated from others has a clock of 5 instead of 100 microseconds.
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *_) -> None:
        """Nothing: the address is printed once."""


def server(files: Path, port: int = 0) -> http.server.ThreadingHTTPServer:
    """A server on this machine's own address; port 0 takes a free one."""
    lacking = [name for name in NEEDED if not (files / name).is_file()]
    if lacking:
        raise FileNotFoundError(
            f"{files}: expected {', '.join(NEEDED)}, but {', '.join(lacking)} is not there; "
            "python benchmarks/sparse_mobilenet.py writes them"
        )
    handler = functools.partial(Pages, files=files)
    return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=8000)
    given = parser.parse_args()
    if not os.path.isdir(_litert_js.package()):
        sys.exit(f"serve.py: {_litert_js.missing()}")
    try:
        serving = server(given.folder, given.port)
    except FileNotFoundError as error:
        sys.exit(f"serve.py: {error}")
    print(f"Open http://127.0.0.1:{serving.server_port}/ (Ctrl-C ends it).", flush=True)
    serving.serve_forever()


if __name__ == "__main__":
    main()
