"""Every command ends with the codes of the table in docs/cli.md.

Of the table each code has its situations below; a code or a command without any fails a test.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import kvengine
from kvengine.cli import exits
from kvengine.cli.app import COMMANDS, KV
from kvengine.inspection.access import Access
from kvengine.share import requests
from kvengine.share.server import Server
from tests.cli.conftest import Run
from tests.cli.golden import DOCUMENT

TABLE = {
    int(code): meaning
    for code, meaning in re.findall(r"^\| (\d+) \| (.+) \|$", DOCUMENT.read_text("utf-8"), re.M)
}
EVERY = [(name,) for name in COMMANDS] + [("kv", name) for name in KV]

# The least that each command needs beside the database; "{}" is a directory of the test's own.
WORDS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("ls",): ("Greeter",),
    ("services",): (),
    ("objects",): ("Greeter",),
    ("count",): ("Greeter",),
    ("scan",): (),
    ("find",): ("--contains", "Alice"),
    ("export",): ("-",),
    ("import",): ("{}/lines", "--partial"),
    ("copy",): ("{db}", "{}/copy"),
    ("stats",): (),
    ("levels",): (),
    ("verify",): (),
    ("compact",): (),
    ("checkpoint",): ("{}/checkpoint",),
    ("backup",): ("{}/backups",),
    ("restore",): ("{}/backups-made", "{}/restored"),
    ("repair",): ("{}/repaired",),
    ("dump",): ("manifest", "{manifest}"),
    ("bench",): (),
    ("ui",): (),
    ("serve",): (),
    ("completion",): ("bash",),
    ("help",): (),
    ("kv", "get"): ("Greeter", "alice"),
    ("kv", "set"): ("Greeter", "alice", "count", "4"),
    ("kv", "clear"): ("Greeter", "alice", "count", "--yes"),
    ("kv", "patch"): ("Greeter", "alice", "--patch", '[{"op":"remove","path":"/count"}]'),
    ("kv", "edit"): ("Greeter", "alice"),
    ("kv", "keys"): ("Greeter", "alice"),
    ("kv", "expire"): ("Greeter", "alice", "--in", "1h"),
    ("kv", "watch"): ("Greeter", "alice", "--timeout", "50ms", "--interval", "20ms"),
}
SERVE = [("ui",), ("serve",)]
"""They go on until somebody ends them."""

WITHOUT_DATABASE = [("restore",), ("dump",), ("bench",), ("completion",), ("help",), ("ui",)]
WRITES = [("kv", name) for name in ("set", "clear", "patch", "edit", "expire")]

LINE = '{"service":"Greeter","key":"eve","entries":{"name":{"value":"Eve"}}}'
Command = tuple[str, ...]


def named(command: Command) -> str:
    return " ".join(command)


@pytest.fixture
def tell(
    place: Path,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Told:
    """Run a command with the words that it needs and those given; return its code."""
    monkeypatch.setenv("EDITOR", f"{sys.executable} -c pass")
    (manifest,) = place.glob("*.manifest")

    if request.node.callspec.params["command"] == ("restore",):
        assert run("backup", str(tmp_path / "backups-made")).code == exits.DONE
    (tmp_path / "lines").write_text(LINE)

    def told(command: Command, *more: str, full: bool = False) -> int:
        words = [
            word.format(tmp_path, db=place, manifest=manifest) if word.startswith("{") else word
            for word in WORDS[command]
        ]
        found = run(*command, *words, *more, full=full)
        assert "Traceback" not in found.err
        assert "a bug" not in found.err
        return found.code

    return told


Told = Callable[..., int]


def test_the_table_is_that_of_the_program() -> None:
    constants = {value for value in vars(exits).values() if isinstance(value, int)}
    assert set(TABLE) == constants


def test_every_code_and_every_command_is_tried() -> None:
    tests = [value for name, value in globals().items() if name.startswith("test_")]
    codes = {re.match(r"\d*", test.__doc__ or "")[0] for test in tests}  # type: ignore[index]
    assert codes - {""} == set(map(str, TABLE))
    assert set(EVERY) == set(WORDS)


@pytest.mark.parametrize("command", [each for each in EVERY if each not in SERVE], ids=named)
def test_done(command: Command, tell: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """0: done, or there was nothing to do."""
    if command == ("bench",):
        monkeypatch.setattr("kvengine.inspection.bench.measure", lambda *_, **__: iter(()))
    assert tell(command) == exits.DONE


@pytest.mark.parametrize(
    "line",
    [
        "find --contains nowhere",
        "objects nobody",
        "kv get nobody nothing",
        "kv get Greeter alice nothing",
        "kv keys nobody nothing",
        "kv expire nobody nothing --in 1h",
    ],
)
def test_the_answer_is_no(line: str, place: Path, run: Run) -> None:
    """1: no such service, object or entry, no hit."""
    assert run(*line.split()).code == exits.NO


def test_the_answer_is_damage(place: Path, run: Run, tmp_path: Path) -> None:
    """1: damage found, something lost."""
    backups, repaired = str(tmp_path / "backups"), str(tmp_path / "repaired")
    assert run("backup", backups).code == exits.DONE
    for path in (*place.iterdir(), *(tmp_path / "backups").iterdir()):
        data = path.read_bytes()
        path.write_bytes(data.replace(b"Alice", b"alice"))
        if b"Alice" in data and path.parent == place:
            assert run("dump", path.suffix[1:], str(path), "--verify").code == exits.NO
    assert run("verify").code == exits.NO
    assert run("backup", backups, "--verify").code == exits.NO
    assert run("repair", repaired).code == exits.NO


@pytest.mark.parametrize("command", EVERY, ids=named)
def test_wrong_usage(command: Command, tell: Told, place: Path) -> None:
    """2: an option that no command has; nothing is read or written."""
    before = {path: path.read_bytes() for path in place.iterdir()}
    assert tell(command, "--no-such-option") == exits.USAGE
    assert {path: path.read_bytes() for path in place.iterdir()} == before


@pytest.mark.parametrize("command", WRITES, ids=named)
def test_a_conflict(command: Command, tell: Told) -> None:
    """3: the object is not of the version that the edit expects."""
    assert tell(command, "--version", "7", "--yes") == exits.CONFLICT


@pytest.mark.parametrize(
    "command", [e for e in EVERY if e not in (*WITHOUT_DATABASE, ("serve",))], ids=named
)
def test_no_database(
    command: Command, tell: Told, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4: there is no database in the directory that is named."""
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("KVENGINE_DB", str(tmp_path / "empty"))
    place.rename(tmp_path / "moved")
    assert tell(command) == exits.UNAVAILABLE
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.parametrize(
    "command", [*WRITES, ("import",), ("compact",), ("checkpoint",), ("backup",)], ids=named
)
def test_an_owner_that_lets_no_tool_in(
    command: Command, tell: Told, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4: another process owns the directory, and serves no socket."""
    monkeypatch.setitem(Access.__init__.__kwdefaults__, "wait", 0.1)
    with kvengine.open(place, live_access=False):
        assert tell(command) == exits.UNAVAILABLE


@pytest.mark.parametrize("command", [e for e in EVERY if e not in WITHOUT_DATABASE], ids=named)
def test_damage_in_the_way(command: Command, tell: Told, place: Path) -> None:
    """5, but for those that are asked about damage: to them it is an answer, or to be mended."""
    current = place / "CURRENT"
    current.write_bytes(current.read_bytes().replace(b".manifest ", b".manifesT "))
    asked = {("verify",): exits.NO, ("repair",): exits.DONE}
    assert tell(command) == asked.get(command, exits.DAMAGED)


@pytest.mark.parametrize("command", [each for each in EVERY if each not in SERVE], ids=named)
def test_what_cannot_be_printed(command: Command, tell: Told) -> None:
    """6: standard output goes to a full disk. An export or an edit that was done says so, too."""
    assert tell(command, full=True) == exits.FAILED


def test_a_connection_that_breaks_off(
    place: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner hangs up whenever it is asked: 4 at a read; 6 at a commit, which may be made."""
    real = Server._handle
    cut: tuple[type, ...] = ()

    def leave(self: Server, connection: Any, data: Any) -> None:
        if type(requests.decode(data)) in cut:
            self._drop(connection)
        else:
            real(self, connection, data)

    monkeypatch.setattr(Server, "_handle", leave)
    with kvengine.open(place, durability="os", live_access=True):
        cut = (requests.OpenSnapshot, requests.Load, requests.Scan)
        for line in ("services", "kv get Greeter alice", "kv set Greeter alice n 1", "scan"):
            told = run(*line.split())
            assert "broken off the connection at this request 10 times" in told.err, line
            assert told.code == exits.UNAVAILABLE
        cut = (requests.Write,)
        told = run("kv", "set", "Greeter", "alice", "n", "1")
        assert (told.code, "may be made" in told.err) == (exits.FAILED, True)


def test_the_answer_was_not_yes(place: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """7: asked, and the answer was not yes; nothing is written."""
    terminal = SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("kvengine.cli.edits.sys", terminal)
    monkeypatch.setattr("kvengine.cli.commands.kv_clear.sys", terminal, raising=False)
    for words in (["set", "Greeter", "alice", "n", "1"], ["clear", "Greeter", "alice"]):
        assert run("kv", *words, stdin=b"n\n").code == exits.DECLINED
    assert run("kv", "get", "Greeter", "alice", "n").code == exits.NO


@pytest.mark.parametrize("command", EVERY, ids=named)
def test_an_interrupt(command: Command, tell: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """130: Ctrl-C at the beginning of the command."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kvengine.cli.tool.Tool.__init__", interrupt)
    assert tell(command) == exits.INTERRUPTED
