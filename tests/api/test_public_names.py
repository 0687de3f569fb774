"""What `import kvengine` gives: the names, their types as users see them, what it costs."""

from __future__ import annotations

import dataclasses
import inspect
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import kvengine
import kvengine.aio
import kvengine.testing
from tests.api import usage

ROOT = Path(__file__).resolve().parents[2]

NAMES = [
    "AccessDenied",
    "BadAddress",
    "Batch",
    "Change",
    "CorruptionError",
    "DatabaseClosed",
    "DatabaseLocked",
    "Engine",
    "Estimate",
    "FieldError",
    "ForkedError",
    "Job",
    "KVEngineError",
    "LevelStats",
    "Limits",
    "Loss",
    "NotADatabase",
    "Options",
    "OutcomeUnknown",
    "OwnerLost",
    "PoolExhausted",
    "ReadOnly",
    "RepairReport",
    "SegmentStats",
    "Serde",
    "SerdeError",
    "Session",
    "SessionError",
    "SessionLost",
    "SessionTimeout",
    "Snapshot",
    "State",
    "StatementTimeout",
    "Stats",
    "Store",
    "StoredObject",
    "StoredWorkflow",
    "Unavailable",
    "UnsupportedFormat",
    "ValueTooLarge",
    "VersionConflict",
    "VirtualObject",
    "Watch",
    "Workflow",
    "WriteFailed",
    "connect",
    "field",
    "open",
    "repair",
    "retry",
    "session_of",
]

READS = [
    *("count", "exists", "expires_at", "get", "get_all", "get_many", "load", "load_many"),
    *("object_keys", "scan", "services", "state_keys", "version", "workflows"),
]
WRITES = [
    "batch",
    "clear",
    "clear_all",
    "clear_range",
    "clear_service",
    "expire",
    "pop",
    "set",
    "write",
]

BYTECODE = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")

IMPORT_LIMIT = 0.3
"""Seconds over bare Python. The promise is 0.1; the rest is for a busy machine."""


def public(what: object) -> list[str]:
    return sorted(name for name in dir(what) if not name.startswith("_"))


def test_the_exported_names() -> None:
    """A name added or lost is seen here: it is part of what users rely on."""
    assert sorted(kvengine.__all__) == sorted(NAMES)
    for name in NAMES:
        assert getattr(kvengine, name).__doc__, f"{name} has no docstring"


def test_the_names_for_tests_of_applications() -> None:
    """`kvengine.testing` needs no pytest. Its fixture and its contract do, once asked for."""
    names = ["CrashPoints", "FaultyFileSystem", "ManualClock", "MemoryDatabase", "MemoryFileSystem"]
    names += ["StoreContract", "blocking"]
    assert kvengine.testing.__all__ == names
    for name in names:
        kind = getattr(kvengine.testing, name)
        assert kind.__doc__, f"{name} has no docstring"
    database = {"clock", "close", "crash_points", "db", "fs", "full_disk", "kill"}
    with kvengine.testing.MemoryDatabase() as kv:
        assert public(kv) == sorted(database | {"power_cut", "reopen"})
    clock = ["advance", "monotonic", "now", "step", "wall"]
    assert public(kvengine.testing.ManualClock) == clock
    program = (
        "import sys, kvengine.testing; sys.exit(len({'pytest', 'hypothesis'} & {*sys.modules}))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, cwd=ROOT)


def test_the_verbs_of_each_type() -> None:
    """Store is the contract, Engine adds to it, a snapshot has the read verbs."""
    engine = {
        *READS,
        *WRITES,
        "snapshot",
        "object",
        "workflow",
        "watch",
        "retention",
        "retentions",
        "set_retention",
        "limits",
        "stats",
        "close",
    }
    added = {"flush", "compact", "checkpoint", "verify", "path", "options"}
    added |= {"estimate", "segments", "refresh"}
    assert public(kvengine.Engine) == sorted(engine | added)
    assert public(kvengine.Snapshot) == sorted([*READS, "close", "stamp"])
    assert set(public(kvengine.Store)) <= engine
    verbs = {*WRITES} - {"write", "batch", "pop"}
    own = {"check_open", "check_values", "close", "operations", "stamp"}
    assert public(kvengine.Batch) == sorted(verbs | own)


def test_every_error_is_a_kvengine_error() -> None:
    """One except clause catches all of them; ValueTooLarge is a ValueError too."""
    errors = [
        value
        for name in NAMES
        if isinstance(value := getattr(kvengine, name), type) and issubclass(value, Exception)
    ]
    assert len(errors) == 23
    assert all(issubclass(one, kvengine.KVEngineError) for one in errors)
    assert issubclass(kvengine.ValueTooLarge, ValueError)


@pytest.mark.slow
def test_the_package_is_typed(tmp_path: Path) -> None:
    """A module that uses the API as users do passes mypy --strict, and does what it says."""
    mypy = pytest.importorskip("mypy.api", reason="the extra `test` brings mypy")
    out, err, code = mypy.run(
        [
            "--strict",
            f"--config-file={ROOT / 'pyproject.toml'}",
            f"--cache-dir={tmp_path / 'cache'}",
            "--no-error-summary",
            str(ROOT / "tests" / "api" / "usage.py"),
        ]
    )
    assert (out, err, code) == ("", "", 0)
    assert usage.run(tmp_path / "db").commits == 4
    assert (ROOT / "kvengine" / "py.typed").exists()


@pytest.mark.slow
def test_a_wrong_use_does_not_pass_the_type_check(tmp_path: Path) -> None:
    """The check itself, checked: str for bytes, and a result taken for what it is not."""
    mypy = pytest.importorskip("mypy.api", reason="the extra `test` brings mypy")
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import kvengine\n"
        "db = kvengine.open('x')\n"
        "db.set('s', 'k', 'n', 'text')\n"
        "value: bytes = db.get('s', 'k', 'n')\n"
    )
    out, _, code = mypy.run(
        [
            "--strict",
            f"--config-file={ROOT / 'pyproject.toml'}",
            f"--cache-dir={tmp_path / 'cache'}",
            str(wrong),
        ]
    )
    assert code == 1
    assert "wrong.py:3" in out and "wrong.py:4" in out


def processor_seconds(program: str, cache: Path) -> float:
    """What a run takes of the processor: nothing waits here, and neighbours do not count."""
    kept = {name: value for name, value in os.environ.items() if name not in BYTECODE}
    before = os.times()
    subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        timeout=60,
        cwd=ROOT,
        env={**kept, "PYTHONPYCACHEPREFIX": str(cache)},
    )
    after = os.times()
    return (
        after.children_user
        + after.children_system
        - (before.children_user + before.children_system)
    )


def test_the_import_is_cheap(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Under 100 ms more than bare Python, so that a command-line tool can afford it.

    Medians of seven runs each, in turn, after one that compiles.
    """
    processor_seconds("import kvengine", tmp_path)
    pairs = [
        [processor_seconds(program, tmp_path) for program in ("import kvengine", "pass")]
        for _ in range(7)
    ]
    imported, bare = (statistics.median(runs) for runs in zip(*pairs, strict=True))
    more = imported - bare
    with capsys.disabled():
        print(f"\n  import kvengine: {more * 1000:.0f} ms more than bare Python")
    assert more < IMPORT_LIMIT


def test_the_import_starts_nothing() -> None:
    """No thread, no child process, no file left open."""
    program = (
        "import os, threading\n"
        "before = len(os.listdir('/dev/fd'))\n"
        "import kvengine\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "assert len(os.listdir('/dev/fd')) == before\n"
        "try:\n"
        "    os.waitpid(-1, os.WNOHANG)\n"
        "    raise SystemExit('it has a child process')\n"
        "except ChildProcessError:\n"
        "    pass\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, cwd=ROOT)


def test_open_spells_its_options_out() -> None:
    """`open` took ``**options``: no editor completed one, and no type checker refused a typo."""
    settings = {one.name: one for one in dataclasses.fields(kvengine.Options)}
    for opening in (kvengine.open, kvengine.aio.open):
        given = dict(inspect.signature(opening).parameters)
        assert next(iter(given)) == "path" and given.pop("path")
        assert given.pop("fs").default is None and given.pop("share").default is False
        assert list(given) == list(settings), "in the order of Options"
        for name, one in given.items():
            assert one.kind is inspect.Parameter.KEYWORD_ONLY
            default = settings[name].default
            if default is not dataclasses.MISSING:
                assert one.default == default, name
    assert kvengine.open.__name__ == "open" and "DatabaseLocked" in str(kvengine.open.__doc__)


def test_dir_shows_public_verbs_only(tmp_path: Path) -> None:
    """What completes in a notebook is what one may call."""
    with kvengine.open(tmp_path / "db") as db:
        assert dir(db) == public(kvengine.Engine)
        assert set(dir(kvengine.aio.wrap(db))) - {"engine"} <= set(dir(db))


def test_limits_are_what_is_enforced(tmp_path: Path) -> None:
    """`db.limits` tells what the errors tell, before it is too late."""
    with kvengine.open(tmp_path / "db", max_value_size=100, max_commit_size=500_000) as db:
        limits = db.limits
        assert limits == kvengine.Limits(limits.name, 3 * limits.name, 100, 500_000)
        db.set("s" * limits.name, "k" * limits.name, "n" * limits.name, bytes(0))
