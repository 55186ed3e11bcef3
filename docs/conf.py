"""How Sphinx makes the site from the pages in this folder: `python -m sphinx -W docs out/site`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

# The docstrings come from the package itself, which is imported; the logs of TensorFlow are noise.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

project = "tfshed"
author = "The tfshed authors"
copyright = author
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "tfshed"
html_show_sourcelink = False
# A copy of the notebook beside its page, which links to it.
html_extra_path = ["tutorial.ipynb"]

# Headings down to the third level can be linked to as code hosts link to them: page.md#heading.
myst_heading_anchors = 3
smartquotes = False  # "layer" is typed with these quotes
default_role = "code"  # one backtick in a docstring is code, as in Markdown
autodoc_typehints = "none"  # the arguments' texts say what they take
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# Broken links are errors; the form of docstrings, which people read in the source as well, is not.
suppress_warnings = ["docutils"]


def plain_bars(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keeps the bars of a docstring: |w| would be a substitution, and rows a line block."""
    made: list[str] = []
    for line in lines:
        if line.startswith("|"):  # a table as Markdown writes it is shown as it is
            made += [] if made and made[-1].startswith("    |") else ["::", ""]
            made.append(f"    {line}")
        else:
            is_code = line.lstrip().startswith((">>>", "...")) or "`" in line
            made.append(line if is_code else line.replace("|", r"\|"))
    lines[:] = made


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", plain_bars, priority=900)
