"""The Python in README.md and docs/ runs as it stands, file by file, top to bottom."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tutorial

import tfshed

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


def check_tutorial(found: dict[str, Any]) -> None:
    """What the page promises: nine tenths are zero, accuracy recovers, files get smaller."""
    assert 0.89 < found["after"].total_sparsity < 0.93
    assert found["schedule"].end_step < 0.6 * found["epochs"] * found["steps_per_epoch"]
    assert found["accuracy_before"] > 0.9
    # 357 images are judged: 0.02 are seven of them.
    assert found["accuracy_after"] > found["accuracy_before"] - 0.02
    sizes = found["sizes"]
    assert sizes["deflated_keras"] < 0.25 * sizes["keras"]
    assert sizes["packed_saved_model"] < 0.25 * sizes["saved_model"]
    assert Path("report/report.html").is_file() and Path("run/keep_ratio.png").is_file()


# What a page's names must hold after its blocks have run.
CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {"docs/tutorial.md": check_tutorial}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for line, code in python_blocks(page.read_text(encoding="utf-8")):
        # Padding makes a traceback show the line of the page.
        exec(compile("\n" * (line - 1) + code, str(page), "exec"), namespace)
    check = CHECKS.get(str(page.relative_to(ROOT)))
    if check is not None:
        check(namespace)


def test_the_notebook_is_the_tutorial() -> None:
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    kept = (ROOT / "docs" / "tutorial.ipynb").read_text(encoding="utf-8")
    assert kept == tutorial.notebook(page), "run `python scripts/tutorial.py`"


def test_blocks_are_found_and_skipped_only_with_a_reason() -> None:
    text = (
        "```sh\nls\n```\n"
        "```python\na = 1\n```\n"
        "<!-- not run: takes hours -->\n```python\nb = 2\n```\n"
        "<!-- not run: takes hours -->\n\n```python\nc = 3\n```\n"
        "<!-- a remark -->\n```python\nd = 4\n```\n"
    )
    assert python_blocks(text) == [(5, "a = 1\n"), (18, "d = 4\n")]


LINK = re.compile(r"(?<!`)\[[^\]\n]*\]\((?P<target>[^)#\s]*)(?P<anchor>#[^)\s]*)?\)")


def anchors(page: Path) -> set[str]:
    """The headings of a page as code hosts spell them in links."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", title.lower().replace("`", "")).strip().replace(" ", "-")
        for title in found
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """Sphinx looks at docs/ as well, but not at README.md, and not without its packages."""
    wrong = []
    for link in LINK.finditer(re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)):
        target, anchor = link["target"], link["anchor"]
        if "://" in target or target.startswith("mailto:"):
            continue
        other = page.parent / target if target else page
        if not other.exists() or (anchor and anchor[1:] not in anchors(other)):
            wrong.append(link.group())
    assert not wrong


def test_every_page_is_in_the_index_of_the_site() -> None:
    """Sphinx makes an error of it, too, where it is installed."""
    docs = ROOT / "docs"
    pages = {str(p.relative_to(docs).with_suffix("")) for p in docs.glob("**/*.md")} - {"index"}
    index = (docs / "index.md").read_text(encoding="utf-8")
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```", index, re.MULTILINE | re.DOTALL)
    listed = {line for tree in trees for line in tree.split() if line in pages}
    assert pages == listed


def test_the_reference_has_every_public_name_and_no_other() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    names = re.findall(r"^\.\. auto(?:class|function):: (?:tfshed\.)?(\S+)$", page, re.MULTILINE)
    assert set(tfshed.__all__) - set(names) == set()
    for name in names:
        found: Any = tfshed
        for part in name.split("."):
            found = getattr(found, part)
