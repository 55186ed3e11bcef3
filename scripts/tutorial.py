"""Makes the notebook and the picture of docs/tutorial.md from the page itself.

python scripts/tutorial.py          writes docs/tutorial.ipynb
python scripts/tutorial.py --run    also runs the page in a temporary folder, prints what it
                                    prints, and writes docs/pictures/tutorial_keep_ratio.png
python scripts/tutorial.py --run --folder=FOLDER    the same in FOLDER, which is kept
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$\n?", re.MULTILINE | re.DOTALL)


def cells(page: str) -> list[tuple[str, str]]:
    """Returns the kind ("markdown" or "code") and the text of each cell, in the page's order."""
    found = []
    # The pattern has one group, so texts and blocks alternate.
    for number, text in enumerate(BLOCK.split(page)):
        if text.strip():
            found.append(("code" if number % 2 else "markdown", text.strip()))
    return found


def notebook(page: str) -> str:
    """Returns the notebook of a page, as the text of an .ipynb file without outputs."""
    made = []
    for number, (kind, text) in enumerate(cells(page)):
        cell = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        made.append(cell | {"source": text.splitlines(keepends=True)})
    whole = {
        "cells": made,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    # Sorted, as Jupyter and ruff write it.
    return json.dumps(whole, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def run(page: str, folder: Path) -> None:
    """Runs the page's blocks in a folder, and copies the picture that they make to docs/."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        code = "\n\n".join(text for kind, text in cells(page) if kind == "code")
        exec(compile(code, "docs/tutorial.md", "exec"), {"__name__": "__main__"})
    finally:
        os.chdir(before)
    (DOCS / "pictures").mkdir(exist_ok=True)
    shutil.copy(folder / "run" / "keep_ratio.png", DOCS / "pictures" / "tutorial_keep_ratio.png")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", action="store_true", help="run the page and write its picture")
    parser.add_argument("--folder", type=Path, help="where to run it; by default a temporary one")
    chosen = parser.parse_args()
    page = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    (DOCS / "tutorial.ipynb").write_text(notebook(page), encoding="utf-8")
    if chosen.run and chosen.folder:
        chosen.folder.mkdir(parents=True, exist_ok=True)
        run(page, chosen.folder.resolve())
    elif chosen.run:
        with tempfile.TemporaryDirectory() as folder:
            run(page, Path(folder))


if __name__ == "__main__":
    main()
