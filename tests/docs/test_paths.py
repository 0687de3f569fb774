"""What documents and docstrings name is there: files, folders, and the targets of links."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "kvengine"
DOCUMENTS = (
    ROOT / "README.md",
    ROOT / "tests" / "README.md",
    PACKAGE / "storage" / "FORMAT.md",
    *sorted((ROOT / "docs").glob("*.md")),
)

_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_TICKED = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"[\w.*-]+(/[\w.*-]+)*\.(py|md|toml)|([\w-]+/)+")
_LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
_IN_DOCSTRING = re.compile(r"[\w/]+\.(?:py|md)\b")


def paths_in(text: str) -> list[str]:
    """Every backticked path of a document, examples in fenced blocks left out."""
    ticked = _TICKED.findall(_FENCED.sub("", text))
    return [each for each in ticked if _PATH.fullmatch(each)]


def exists(path: str, beside: Path) -> bool:
    """Whether a document in the folder ``beside`` may name this path.

    From the root, or from anywhere below the package or the folder of the document: documents say
    `wal/format.py`, and the text around it says which room that is in.
    """
    found = [*ROOT.glob(path), *PACKAGE.rglob(path)]
    if beside != ROOT:
        found += beside.rglob(path)
    return any(each.is_file() or holds_files(each) for each in found)


def holds_files(folder: Path) -> bool:
    """Whether anything is left in a folder beside what an interpreter wrote into it."""
    return any(each.is_file() and each.suffix != ".pyc" for each in folder.rglob("*"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_that_a_document_names_exist(document: Path) -> None:
    """A file that was moved or removed is not named by its old path."""
    text = document.read_text("utf-8")
    assert [path for path in paths_in(text) if not exists(path, document.parent)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_a_document_lead_somewhere(document: Path) -> None:
    """A relative link leads to a file of this repository."""
    links = _LINK.findall(_FENCED.sub("", document.read_text("utf-8")))
    near = [link for link in links if "://" not in link]
    assert [link for link in near if not (document.parent / link).exists()] == []


def docstrings(path: Path) -> Iterator[str]:
    """The docstrings of a module, and the strings that stand below its names as theirs."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        value = node.value if isinstance(node, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield value.value


def test_files_that_docstrings_name_exist() -> None:
    """A docstring of the package that refers to a file names it as it is."""
    lost = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for text in docstrings(path)
        for name in _IN_DOCSTRING.findall(text)
        if not exists(name.lstrip("/"), path.parent)
    ]
    assert lost == []


# The check, checked.


def test_a_path_that_is_gone_is_seen() -> None:
    text = "See `storage/commit.py` and `attic/commit.py`.\n```\n`no/such.py`\n```\n"
    assert paths_in(text) == ["storage/commit.py", "attic/commit.py"]
    assert exists("storage/commit.py", ROOT) and exists("wal/format.py", ROOT)
    assert exists("commands/", ROOT)
    assert not exists("attic/commit.py", ROOT) and not exists("operations/", ROOT)
