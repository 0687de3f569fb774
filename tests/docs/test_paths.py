"""What documents and docstrings name is there: files, folders, and the targets of links."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "kvengine"
BLOB = re.compile(r"https://github\.com/kvengine/kvengine/(?:blob|raw|tree)/main/")
"""How README links to files of this repository: PyPI shows it too, where no other link leads on."""
DOCUMENTS = (
    ROOT / "README.md",
    ROOT / "tests" / "README.md",
    PACKAGE / "storage" / "FORMAT.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").glob("*.md")),
)

_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_TICKED = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"[\w.*-]+(/[\w.*-]+)*\.(py|md|toml)|([\w-]+/)+")
_LINK = re.compile(r"\](?:\(([^)#\s]+)[^)]*\)|: (\S+)$)", re.MULTILINE)
_IN_DOCSTRING = re.compile(r"[\w/]+\.(?:py|md)\b")


def paths_in(text: str) -> list[str]:
    """Every backticked path of a document, examples in fenced blocks left out."""
    ticked = _TICKED.findall(_FENCED.sub("", text))
    return [each for each in ticked if _PATH.fullmatch(each)]


def links_in(document: Path) -> list[str]:
    """The targets of a document's links, within the document apart."""
    text = _FENCED.sub("", document.read_text("utf-8"))
    return [inline or defined for inline, defined in _LINK.findall(text)]


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
    """A link to a file of this repository, relative or by its address, leads to a file."""
    links = links_in(document)
    near = [document.parent / link for link in links if "://" not in link]
    near += [ROOT / BLOB.sub("", link) for link in links if BLOB.match(link)]
    assert [path for path in near if not path.exists()] == []


def test_readme_links_by_address_alone() -> None:
    """Every link of README but those within it works on PyPI too."""
    links = links_in(ROOT / "README.md")
    assert len(links) > 10
    assert [link for link in links if "://" not in link] == []


def test_urls_of_the_project_are_those_of_readme() -> None:
    """One address of the repository, whoever names it."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]
    base = urls["Homepage"]
    assert BLOB.match(f"{base}/blob/main/")
    assert all(url.startswith(base) for url in urls.values())


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
