"""Installing: what pip builds with a compiler and without one, and how one learns which it was.

A container without gcc got the plain form after minutes of translating to C, and nothing said why
it was several times slower than in the documents.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
NOTHING_BUILT = shutil.ignore_patterns("_built", "__pycache__")


def checkout(place: Path) -> Path:
    """A copy of what a wheel is built of, in which nothing is compiled yet."""
    shutil.copytree(ROOT / "kvengine", place / "kvengine", ignore=NOTHING_BUILT)
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, place / name)
    return place


def build(place: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "out"],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={"PATH": "/nowhere", "KVENGINE_COMPILED": "auto"} | environment,
    )


def version(place: Path, *flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What the unpacked package says that it is."""
    return subprocess.run(
        [sys.executable, *flags, "-m", "kvengine", "--version"],
        capture_output=True,
        text=True,
        check=False,
        cwd=place,
        env={"PYTHONPATH": str(place), "PATH": "/usr/bin:/bin"} | environment,
    )


@pytest.mark.slow
def test_without_a_compiler(tmp_path: Path) -> None:
    """It is built at once, named for any platform, which pip prints, and says why it runs plain."""
    place = checkout(tmp_path / "source")
    done = build(place)
    assert done.returncode == 0, done.stderr
    assert "will run uncompiled, several times slower: there is no C compiler" in done.stderr
    (wheel,) = (place / "out").glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    told = version(tmp_path / "installed")
    assert (told.returncode, told.stderr) == (0, "")
    assert re.fullmatch(
        r"kvengine 0\.\S+, plain Python \(when it was installed: there is no C compiler: \S+ is not"
        r" installed\)\n",
        told.stdout,
    )


def test_without_headers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """python3-dev is what distributions leave out: that is said, not what the compiler prints."""
    hook = build_script()
    monkeypatch.setattr(hook.shutil, "which", lambda _: "/usr/bin/gcc")
    monkeypatch.setattr(hook.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    with pytest.raises(hook.BuildError, match="python3-dev"):
        hook.check_compiler()


def test_a_compiler_that_is_required(tmp_path: Path) -> None:
    """Whoever builds wheels wants no wheel rather than a slow one."""
    place = checkout(tmp_path)
    done = build(place, KVENGINE_COMPILED="require")
    assert done.returncode != 0
    assert "there is no C compiler" in done.stderr
    assert list(place.glob("out/*.whl")) == []


def test_a_python_without_the_interpreter_lock_is_refused_at_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not at the first import, in production."""
    hook = build_script()
    original = sysconfig.get_config_var
    monkeypatch.setattr(
        hook.sysconfig,
        "get_config_var",
        lambda name: 1 if name == "Py_GIL_DISABLED" else original(name),
    )
    for target in ("wheel", "sdist"):
        with pytest.raises(hook.BuildError, match=r"no interpreter lock.*use a standard build"):
            hook.HotModules.initialize(SimpleNamespace(target_name=target), "standard", {})


def test_windows_is_refused_at_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """`import kvengine` would end in "No module named 'fcntl'"."""
    hook = build_script()
    monkeypatch.setattr(hook, "os", SimpleNamespace(name="nt"))
    with pytest.raises(hook.BuildError, match=r"runs on Linux.*use WSL"):
        hook.HotModules.initialize(SimpleNamespace(target_name="wheel"), "standard", {})


def test_what_runs_is_said_with_a_reason() -> None:
    assert (
        ", plain Python (KVENGINE_COMPILED=off)\n" in version(ROOT, KVENGINE_COMPILED="off").stdout
    )


def test_the_version_needs_no_extra(tmp_path: Path) -> None:
    """`kvengine --version` answers where click is not installed; other commands say what is."""
    (tmp_path / "click.py").write_text("raise ModuleNotFoundError('click')\n")
    path = f"{tmp_path}:{ROOT}"
    told = version(ROOT, PYTHONPATH=path, KVENGINE_COMPILED="off")
    assert (told.returncode, told.stdout) == (0, version(ROOT, KVENGINE_COMPILED="off").stdout)
    ended = subprocess.run(
        [sys.executable, "-m", "kvengine", "stats"],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": path, "KVENGINE_COMPILED": "off"},
        cwd=tmp_path,
    )
    assert (ended.returncode, ended.stdout) == (6, "")
    assert ended.stderr == (
        "kvengine: the command line needs its extra: pip install 'kvengine[cli]'\n"
    )


@pytest.mark.parametrize(
    ("extra", "rooms"),
    [
        ("", ("storage", "fs", "objects", "aio", "share", ".")),
        ("cli", ("cli", "inspection")),
        ("ui", ("ui", "cli", "inspection")),
    ],
)
def test_an_extra_brings_all_that_its_part_imports(extra: str, rooms: tuple[str, ...]) -> None:
    """`[ui]` lacked python-jsonpath: the page started, and its search ended in an error."""
    given = PROJECT["dependencies"] + (PROJECT["optional-dependencies"][extra] if extra else [])
    brought = {normal(re.split(r"[<>=\[]", one)[0]) for one in given}
    homes = packages_distributions()
    wanted = set()
    for room in rooms:
        folder = ROOT / "kvengine" / room
        for path in folder.glob("*.py") if room == "." else folder.rglob("*.py"):
            wanted |= imported(path)
    optional = {"pydantic", "pydantic_core", "msgpack"}  # who wants them is told so
    known = wanted - set(sys.stdlib_module_names) - optional
    needed = {normal(homes[name][0]) for name in known if name in homes} - {"kvengine"}
    assert needed and needed <= brought


def imported(path: Path) -> set[str]:
    """The first names of what a module imports at run time, also within functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {each.name.split(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def build_script() -> ModuleType:
    """hatch_build.py as a module."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_build_says_where_it_belongs() -> None:
    """The page of the project on PyPI leads to its code, its documents and its issues."""
    assert set(PROJECT["urls"]) == {"Homepage", "Documentation", "Changelog", "Issues"}
    assert os.path.exists(ROOT / PROJECT["readme"])
