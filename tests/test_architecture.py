"""The house keeps its floors: imports go strictly downward, and `import kvengine` stays light.

Each check is itself checked on a small package with a planted violation.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "kvengine"

# From the ground up. A name is a module or a folder of kvengine, dotted where it is a part of a
# folder; "" is kvengine itself, where the public names are. A module stands on the floor of the
# longest name that holds it, and imports from lower floors and from its own folder.
GROUND = {
    "errors",
    "release",
    "compiled",
    "interpreter",
    "arguments",
    "closing",
    "passwords",
    "real_time",
    "attempts",
}
RULES = {"names", "name_bytes", "decoded", "packed", "resolved", "row", "fold"}
RULES |= {"range_tombstones", "retention", "clock", "batch", "machine", "times"}
AWAITED = {"context", "engine", "home", "objects", "reads", "session", "store", "turns"}
AWAITED |= {"waiting", "watch"}
SHARING = {"link", "owner", "member", "pipeline", "reads", "sessions", "store", "opening"}
FLOORS: tuple[tuple[str, set[str]], ...] = (
    ("ground", GROUND),
    ("rules of the tree", {f"storage.{name}" for name in RULES}),
    ("options and records", {"options", "store"}),
    ("seam to the disk", {"fs"}),
    ("the tree", {"storage"}),
    # Over the Store protocol alone, so that every back end has them: below the engine.
    ("serdes", {"serdes"}),
    ("typed state", {"objects.state"}),
    ("sessions", {"objects.sessions"}),
    ("objects", {"objects"}),
    ("access for other processes", {"share"}),
    ("engine", {"snapshot", "watch", "engine"}),
    ("a directory that is shared", {f"share.{name}" for name in SHARING}),
    ("verbs for asyncio", {f"aio.{name}" for name in AWAITED}),
    ("PostgreSQL", {"postgres"}),
    ("a directory that is shared, awaited", {"share.awaited"}),
    ("opening", {"opening"}),
    ("asyncio", {"aio"}),
    ("public names", {""}),
    ("for tests of applications", {"testing"}),
    ("inspection", {"inspection"}),
    ("what people meet", {"ui", "adapters"}),
    ("command line", {"cli"}),
    ("python -m kvengine", {"__main__"}),
)

HEAVY = ("rich", "click", "jsonpath", "starlette", "uvicorn", "psycopg", "pydantic", "pytest")
IMPORT_SECONDS = 60


class Import(NamedTuple):
    """``importer`` names ``imported`` at a line; both dotted. ``typing``: under TYPE_CHECKING."""

    importer: str
    imported: str
    line: int
    typing: bool


class House(NamedTuple):
    """A package's modules by dotted name, and every import of one by another."""

    modules: dict[str, Path]
    imports: list[Import]


def read_house(package: Path) -> House:
    """Parse the whole package; nothing of it is imported."""
    modules = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    found = [each for name, path in modules.items() for each in imports_of(name, path, modules)]
    return House(modules, found)


def imports_of(name: str, path: Path, modules: dict[str, Path]) -> Iterator[Import]:
    """Imports from the package wherever they stand: in functions and TYPE_CHECKING too."""
    root = name.partition(".")[0]
    inside = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text("utf-8"), str(path))
    typing = {id(each) for node in ast.walk(tree) for each in _for_types(node)}
    for node in ast.walk(tree):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, [*_base(node, inside), node.module]))
            dotted = [f"{base}.{alias.name}" for alias in node.names]
            targets = [each if each in modules else base for each in dotted]
        for target in targets:
            if target.partition(".")[0] == root and target != name:
                yield Import(name, target, getattr(node, "lineno", 0), id(node) in typing)


def _for_types(node: ast.AST) -> Iterator[ast.AST]:
    """What stands below ``if TYPE_CHECKING:``."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        for statement in node.body:
            yield from ast.walk(statement)


def _base(node: ast.ImportFrom, inside: str) -> list[str]:
    """The package that a relative import starts from; nothing for an absolute one."""
    parts = inside.split(".")
    return parts[: len(parts) - node.level + 1] if node.level else []


def floor_of(module: str) -> int | None:
    """The floor of a module, counted from the ground; None for one that has no place."""
    parts = module.split(".")[1:]
    names = [".".join(parts[:length]) for length in range(len(parts), 0, -1)] or [""]
    for name in names:
        for number, (_, members) in enumerate(FLOORS):
            if name in members:
                return number
    return None


def folder_of(module: str, house: House) -> str:
    """The folder right below the package that a module lives in; "" for the package's own."""
    path = house.modules.get(module)
    parts = module.split(".")
    alone = len(parts) < 2 or (path is not None and len(parts) == 2 and path.stem != "__init__")
    return "" if alone else parts[1]


def same_folder(each: Import, house: House) -> bool:
    return folder_of(each.importer, house) == folder_of(each.imported, house)


def misplaced(house: House) -> list[str]:
    """What breaks the floors, a line each."""
    wrong = [f"{name} has no floor" for name in house.modules if floor_of(name) is None]
    for each in house.imports:
        upper, lower = floor_of(each.importer), floor_of(each.imported)
        where = f"{each.importer}:{each.line} imports {each.imported}"
        if upper is None or lower is None:
            wrong.append(f"{where}: no floor")
        elif lower > upper:
            wrong.append(f"{where}, which is above it ({FLOORS[lower][0]})")
        elif lower == upper and not same_folder(each, house):
            wrong.append(f"{where}, which is beside it ({FLOORS[lower][0]})")
    return wrong


def cycle(house: House) -> list[str]:
    """Modules that import each other in a ring as they run; empty where there is none.

    Two modules of one folder may name each other's types.
    """
    graph: dict[str, set[str]] = {}
    for each in house.imports:
        if not each.typing:
            graph.setdefault(each.importer, set()).add(each.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


LOOK = f"""
import os, sys, threading

class Recorder:
    asked = set()
    def find_spec(self, name, path=None, target=None):
        self.asked.add(name)

sys.meta_path.insert(0, Recorder())
import kvengine
print(sorted(Recorder.asked & set({HEAVY!r})))
tasks = os.listdir("/proc/self/task") if os.path.isdir("/proc/self/task") else [0]
print(threading.active_count() - 1 + len(tasks) - 1)
"""
"""Asks for a module count whether or not it is installed."""


def look_at_import(root: Path) -> list[str]:
    """What `import kvengine` from ``root`` drags along or starts, in a fresh interpreter."""
    command = [sys.executable, "-c", LOOK]
    run = subprocess.run(
        command, cwd=root, capture_output=True, text=True, timeout=IMPORT_SECONDS, check=False
    )
    if run.returncode:
        return [run.stderr.strip().splitlines()[-1]]
    heavy, threads = run.stdout.splitlines()
    return [*([f"imports {heavy}"] if heavy != "[]" else []), *(["starts a thread"] * int(threads))]


@pytest.fixture(scope="module")
def house() -> House:
    return read_house(PACKAGE)


def test_imports_go_strictly_downward(house: House) -> None:
    """A module imports from the floors below it and from its own folder."""
    assert house.imports
    assert misplaced(house) == []


def test_no_modules_import_each_other_in_a_ring(house: House) -> None:
    assert cycle(house) == []


def test_import_is_light_and_starts_no_thread() -> None:
    """`import kvengine` loads no optional dependency and starts nothing."""
    assert look_at_import(ROOT) == []


# The checks, checked.


def plant(root: Path, **files: str) -> Path:
    """A package kvengine of these modules (``a.b`` for ``a/b.py``), and an empty __init__."""
    package = root / "kvengine"
    for name, text in {"__init__": "", **files}.items():
        path = package / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return package


UPWARD = {
    "plain": "import kvengine.storage.commit",
    "from a module": "from kvengine.storage.commit import Committer",
    "from a package": "from kvengine.storage import commit",
    "relative": "from .storage import commit",
    "in a function": "def f():\n    from kvengine.storage import commit",
    "for types only": (
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from kvengine.storage import commit"
    ),
}


@pytest.mark.parametrize("text", UPWARD.values(), ids=UPWARD.keys())
def test_an_import_upward_is_seen(tmp_path: Path, text: str) -> None:
    package = plant(tmp_path, errors=text, **{"storage.__init__": "", "storage.commit": ""})
    assert [line for line in misplaced(read_house(package)) if "kvengine.storage.commit" in line]


def test_an_import_of_the_public_names_from_below_is_seen(tmp_path: Path) -> None:
    assert misplaced(read_house(plant(tmp_path, errors="import kvengine")))
    assert misplaced(read_house(plant(tmp_path, errors="from kvengine import open")))


def test_an_import_sideways_is_seen_and_one_within_a_folder_is_not(tmp_path: Path) -> None:
    sideways = {"cli.__init__": "", "ui.app": "from kvengine.adapters import run"}
    beside = {"adapters.__init__": "", "adapters.run": "from . import call", "adapters.call": ""}
    wrong = misplaced(
        read_house(plant(tmp_path, store="from . import options", options="", **beside))
    )
    assert wrong == []
    (line,) = misplaced(read_house(plant(tmp_path, **sideways, **beside)))
    assert "beside it" in line


def test_a_module_without_a_floor_is_seen(tmp_path: Path) -> None:
    assert misplaced(read_house(plant(tmp_path, attic=""))) == ["kvengine.attic has no floor"]


def test_a_ring_of_imports_is_seen(tmp_path: Path) -> None:
    package = plant(tmp_path, options="from kvengine import store", store="import kvengine.options")
    assert misplaced(read_house(package)) == []
    assert set(cycle(read_house(package))) == {"kvengine.options", "kvengine.store"}


def test_a_heavy_import_is_seen(tmp_path: Path) -> None:
    guarded = "try:\n    import pydantic\nexcept ImportError:\n    pass"
    plant(tmp_path, __init__="from kvengine import options", options=guarded)
    assert look_at_import(tmp_path) == ["imports ['pydantic']"]


def test_a_thread_started_by_import_is_seen(tmp_path: Path) -> None:
    start = "threading.Thread(target=time.sleep, args=(5,), daemon=True).start()"
    plant(tmp_path, __init__=f"import threading, time\n{start}")
    assert "starts a thread" in look_at_import(tmp_path)
