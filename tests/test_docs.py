"""The Python in README.md and docs/ runs as it stands, file by file, top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(p for p in [ROOT / "README.md", *(ROOT / "docs").glob("**/*.md")] if p.is_file())

# A block is passed over only with a reason: `<!-- not run: needs a GPU -->` on the line before it.
BLOCK = re.compile(
    r"^(?P<skip><!-- not run: (?P<reason>[^\n]+?) -->\n\s*)?"
    r"^```python\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def python_blocks(text: str) -> list[tuple[int, str]]:
    """Returns `(line number of the first line, code)` of each block that is to run."""
    return [
        (text.count("\n", 0, found.start("code")) + 1, found["code"])
        for found in BLOCK.finditer(text)
        if not found["skip"]
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for line, code in python_blocks(page.read_text(encoding="utf-8")):
        # Padding makes a traceback show the line of the page.
        exec(compile("\n" * (line - 1) + code, str(page), "exec"), namespace)


def test_blocks_are_found_and_skipped_only_with_a_reason() -> None:
    text = (
        "```sh\nls\n```\n"
        "```python\na = 1\n```\n"
        "<!-- not run: takes hours -->\n```python\nb = 2\n```\n"
        "<!-- not run: takes hours -->\n\n```python\nc = 3\n```\n"
        "<!-- a remark -->\n```python\nd = 4\n```\n"
    )
    assert python_blocks(text) == [(5, "a = 1\n"), (18, "d = 4\n")]
