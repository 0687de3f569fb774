"""What a build compiles again after a change."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

import kvengine

ROOT = Path(kvengine.__file__).parent.parent
dependencies = pytest.importorskip("Cython.Build.Dependencies")


@pytest.fixture(scope="module")
def hatch_build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_module_is_compiled_again_with_what_it_reads(
    hatch_build: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cython's own list of the types that a module uses holds nothing that the build overlooks."""
    monkeypatch.chdir(ROOT)
    tree = dependencies.create_dependency_tree(quiet=True)
    seen = 0
    for name, source in hatch_build.hot_modules().items():
        ours = hatch_build.read_by(source)
        theirs = {Path(path).resolve() for path in tree.all_dependencies(str(source))}
        missing = {path for path in theirs if path.is_relative_to(ROOT / "kvengine")} - ours
        assert not missing, name
        seen += len(theirs)
    assert seen > 500


def test_headers_count_wherever_they_are_included(hatch_build: ModuleType) -> None:
    storage = ROOT / "kvengine" / "storage"
    found = hatch_build.read_by(storage / "compaction" / "rewrite.pyx")
    assert {storage / "overlay.h", storage / "packed.h", storage / "memory.h"} <= found
    assert storage / "crc32c.h" not in hatch_build.read_by(storage / "packed.pyx")


def test_every_source_is_read_by_some_module(hatch_build: ModuleType) -> None:
    """Else a change of it would leave a build that calls itself stale for ever."""
    read = set[Path]().union(*map(hatch_build.read_by, hatch_build.hot_modules().values()))
    assert set(hatch_build.sources()) - read == set()
